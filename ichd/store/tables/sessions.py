"""Log-ins of browsers."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from ichd.domain.role import Role
from ichd.store.columns import Base, Id


class WebSessionRow(Base):
    """A browser that logged in."""

    __tablename__ = "web_session"

    id: Mapped[Id]
    #: SHA-256 of the key that the browser holds: who reads the database gets in with none of them.
    key_hash: Mapped[str] = mapped_column(unique=True)
    account: Mapped[str]
    #: What an identity provider said; None where the settings say it.
    role: Mapped[Role | None]
    #: Of what the settings said of the account then; with other settings the session is over.
    fingerprint: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(index=True)
    seen_at: Mapped[datetime]
