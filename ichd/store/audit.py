"""The audit trail (PS3.15 A.5): rows that are only ever added, in the transaction of what they tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select, text, update
from sqlalchemy.orm import Session

from ichd.domain.audit import AuditEntry, AuditEvent, AuditOutcome
from ichd.store.facts import storable_text
from ichd.store.tables import AuditCursorRow, AuditRow
from ichd.store.transaction import insert_if_new, reading, writing

#: How long whoever hands the trail on waits for those who write it, who in turn wait behind him. Their transactions
#: last milliseconds; where one does not, the next try is the better one.
_PATIENCE_MS = 200
#: What `ichd.store.settings_seen` compares by, and nobody needs to read.
_KEPT_BACK = frozenset({"salt", "fingerprints"})


def record_audit(
    session: Session,
    *,
    at: datetime,
    event: AuditEvent,
    outcome: AuditOutcome,
    actor: str,
    address: str = "",
    subject: Mapping[str, Any],
) -> AuditRow:
    """Add one thing that happened. `subject` holds UIDs, counts, names of settings; never who the patient is."""
    row = AuditRow(
        at=at,
        event=event,
        outcome=outcome,
        actor=storable_text(actor),
        address=storable_text(address),
        subject={name: _storable(value) for name, value in subject.items()},
    )
    session.add(row)
    return row


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Entries that were not handed on yet, oldest first."""

    #: The cursor as it was read.
    after_id: int
    entries: tuple[AuditEntry, ...]


class Audit:
    """The trail as those see it who read it or have nothing else to write. Every method raises Transient."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(
        self,
        *,
        at: datetime,
        event: AuditEvent,
        outcome: AuditOutcome,
        actor: str,
        address: str = "",
        subject: Mapping[str, Any],
    ) -> None:
        """Add one thing that happened, in a transaction of its own."""
        with writing(self._engine) as session:
            record_audit(session, at=at, event=event, outcome=outcome, actor=actor, address=address, subject=subject)

    def read(
        self,
        *,
        limit: int,
        after_id: int = 0,
        event: AuditEvent | None = None,
        since: datetime | None = None,
        newest_first: bool = False,
    ) -> list[AuditEntry]:
        """At most `limit` entries in the order in which they were written, or the other way round."""
        with reading(self._engine) as session:
            return _entries(
                session, limit=limit, after_id=after_id, event=event, since=since, newest_first=newest_first
            )

    def pending(self, cursor: str, *, limit: int) -> Batch:
        """The oldest entries that `cursor` was not moved past.

        PostgreSQL numbers a row when it is inserted and shows it when its transaction ends, so a row may appear behind
        one with a higher number, where a cursor would never look again. The lock waits for those who are writing; once
        it is held, nobody has a number that we don't see.

        Raises:
            Transient: also where a writer takes too long.
        """
        with reading(self._engine) as session:
            if self._engine.dialect.name == "postgresql":
                session.execute(text(f"SET LOCAL lock_timeout = {_PATIENCE_MS}"))
                session.execute(text("LOCK TABLE audit IN SHARE MODE"))
            position = select(AuditCursorRow.audit_id).where(AuditCursorRow.name == cursor)
            after_id = session.scalars(position).one_or_none() or 0
            return Batch(after_id=after_id, entries=tuple(_entries(session, limit=limit, after_id=after_id)))

    def move(self, cursor: str, *, seen: int, to: int) -> bool:
        """Move a cursor that still is where it was seen; False where somebody else has moved it."""
        with writing(self._engine) as session:
            insert_if_new(session, AuditCursorRow, {"name": cursor, "audit_id": 0})
            there = update(AuditCursorRow).where(AuditCursorRow.name == cursor, AuditCursorRow.audit_id == seen)
            moved = session.scalars(there.values(audit_id=to).returning(AuditCursorRow.id)).one_or_none()
        return moved is not None


def _entries(
    session: Session,
    *,
    limit: int,
    after_id: int,
    event: AuditEvent | None = None,
    since: datetime | None = None,
    newest_first: bool = False,
) -> list[AuditEntry]:
    statement = select(AuditRow).where(AuditRow.id > after_id).limit(limit)
    statement = statement.order_by(AuditRow.id.desc() if newest_first else AuditRow.id)
    if event is not None:
        statement = statement.where(AuditRow.event == event)
    if since is not None:
        statement = statement.where(AuditRow.at >= since)
    return [
        AuditEntry(
            id=row.id,
            at=row.at,
            event=row.event,
            outcome=row.outcome,
            actor=row.actor,
            address=row.address,
            subject={name: value for name, value in row.subject.items() if name not in _KEPT_BACK},
        )
        for row in session.scalars(statement)
    ]


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, list | tuple):
        return [_storable(part) for part in value]
    return value
