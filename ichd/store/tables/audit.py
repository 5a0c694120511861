"""The audit trail: rows are only ever added; the database itself refuses to change or remove one."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.store.columns import Base, Id


class AuditRow(Base):
    """One thing that happened (PS3.15 A.5); `ichd.store.audit` writes it, triggers of the migration guard it."""

    __tablename__ = "audit"

    id: Mapped[Id]
    at: Mapped[datetime] = mapped_column(index=True)
    event: Mapped[AuditEvent]
    outcome: Mapped[AuditOutcome]
    #: AE title, account or program that did it.
    actor: Mapped[str]
    #: Where it sat on the network; empty for ourselves.
    address: Mapped[str]
    #: What it was done to: UIDs, counts, names of settings; never who the patient is.
    subject: Mapped[dict[str, Any]]


class AuditCursorRow(Base):
    """Up to which row the trail was handed on."""

    __tablename__ = "audit_cursor"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(unique=True)
    audit_id: Mapped[int]
