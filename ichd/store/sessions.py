"""Sessions of browsers that logged in: shared by all web processes, ended by time, by log-out, by other settings."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Engine, delete, or_, select, update

from ichd.domain.role import Role
from ichd.store.facts import storable_text
from ichd.store.tables import WebSessionRow
from ichd.store.transaction import reading, writing

#: Writing that somebody is still there for each of a viewer's requests would make the database the slowest part.
_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Lifetimes:
    """When a session is over."""

    #: After the last request.
    idle: timedelta
    #: After the log-in, whatever was asked since.
    absolute: timedelta


@dataclass(frozen=True, kw_only=True)
class LogIn:
    """Whose session it is."""

    account: str
    #: What an identity provider said; None where the settings say it.
    role: Role | None
    #: Of what the settings said of the account.
    fingerprint: str


class Sessions:
    """Each method is one or two transactions, and raises Transient where the database fails."""

    def __init__(self, engine: Engine, lifetimes: Lifetimes) -> None:
        self._engine = engine
        self._lifetimes = lifetimes

    def start(self, log_in: LogIn, *, now: datetime) -> str:
        """A new session; returns its key, which is kept nowhere. Those that are over are forgotten meanwhile."""
        key = secrets.token_urlsafe(32)
        with writing(self._engine) as session:
            session.execute(delete(WebSessionRow).where(self._is_over(now)))
            session.add(
                WebSessionRow(
                    key_hash=_hash(key),
                    account=storable_text(log_in.account),
                    role=log_in.role,
                    fingerprint=log_in.fingerprint,
                    started_at=now,
                    seen_at=now,
                )
            )
        return key

    def find(self, key: str, *, now: datetime) -> LogIn | None:
        """Whose session a key opens; None where it is over, or never was."""
        mine = WebSessionRow.key_hash == _hash(key)
        with reading(self._engine) as session:
            row = session.scalars(select(WebSessionRow).where(mine, ~self._is_over(now))).one_or_none()
        if row is None:
            return None
        if now - row.seen_at >= _NOTED_EVERY:
            with writing(self._engine) as session:
                session.execute(update(WebSessionRow).where(mine).values(seen_at=now))
        return LogIn(account=row.account, role=row.role, fingerprint=row.fingerprint)

    def end(self, key: str) -> None:
        """Log out; nothing where there is no such session."""
        with writing(self._engine) as session:
            session.execute(delete(WebSessionRow).where(WebSessionRow.key_hash == _hash(key)))

    def _is_over(self, now: datetime) -> ColumnElement[bool]:
        return or_(
            WebSessionRow.seen_at <= now - self._lifetimes.idle,
            WebSessionRow.started_at <= now - self._lifetimes.absolute,
        )


def _hash(key: str) -> str:
    """A key has 256 random bits: a hash that costs nothing is enough."""
    return hashlib.sha256(key.encode()).hexdigest()
