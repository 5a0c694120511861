"""Who does what happens by the clock: a lease a tick, so that of any number of workers one does it.

A row a tick. It is claimed by one conditional statement, kept while it runs, and given back with how it went and when
it is due next. Whoever dies with it is replaced once the lease has run out.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Engine, and_, delete, or_, select, update
from sqlalchemy.orm import Session

from ichd.domain.reason import Reason
from ichd.store.tables import TickRow
from ichd.store.transaction import insert_if_new, reading, writing

#: Between the clocks of two machines. A time that lies farther ahead than any that we write was written before a clock
#: was set back: it must not stop a tick for hours.
_SKEW = timedelta(minutes=1)
#: A machine that left without a word: its ticks would be overdue for ever.
_FORGOTTEN_AFTER = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What a tick found wrong; it stands until a run finds it mended."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class TickState:
    """One tick as others see it."""

    #: Without the machine.
    name: str
    #: Or machine/worker, for a tick of one of several there. Empty for a tick of all machines together.
    machine: str
    due_at: datetime
    #: End of the last run; None before the first.
    ran_at: datetime | None
    trouble: Trouble | None
    troubled_since: datetime | None


class Change(StrEnum):
    """What a run did to the trouble of its tick."""

    NONE = "none"
    #: Somebody else has the tick by now; what we say of it is not written down.
    LOST = "lost"
    TROUBLED = "troubled"
    MENDED = "mended"


class Ticks:
    """The leases as one worker takes them. Every method raises Transient where the database does not answer."""

    def __init__(self, engine: Engine, *, owner: str) -> None:
        """`owner` is unique for each start of a worker."""
        self._engine = engine
        self._owner = owner

    def claim(self, name: str, *, every: timedelta, lease: timedelta, now: datetime) -> datetime | None:
        """Take a tick that is due; None where it is ours, else the moment before which asking again is in vain.

        Whoever finds it due asks for the database's one writer; the others only read.
        """
        with reading(self._engine) as session:
            row = session.scalars(select(TickRow).where(TickRow.name == name)).one_or_none()
        if row is not None:
            taken = row.owner not in {None, self._owner} and row.lease_until is not None
            until = max(row.due_at, row.lease_until) if taken and row.lease_until is not None else row.due_at
            if now < until <= now + _SKEW + max(every, lease):
                return until
        values = {"owner": self._owner, "lease_until": now + lease}
        free = update(TickRow).where(TickRow.name == name, *_free(self._owner, every, lease, now)).values(values)
        with writing(self._engine) as session:
            if row is None:
                first = {"name": name, "due_at": now, "detail": "", **values}
                if insert_if_new(session, TickRow, first) is not None:
                    return None
            won = session.scalars(free.returning(TickRow.id), execution_options={"synchronize_session": False})
            return None if won.one_or_none() is not None else now + lease / 2

    def keep(self, names: Collection[str], *, lease: timedelta, now: datetime) -> frozenset[str]:
        """Prolong leases of ours; returns those that are ours still."""
        held = update(TickRow).where(TickRow.name.in_(names), TickRow.owner == self._owner)
        with writing(self._engine) as session:
            kept = session.scalars(
                held.values(lease_until=now + lease).returning(TickRow.name),
                execution_options={"synchronize_session": False},
            )
            return frozenset(kept)

    def done(self, name: str, trouble: Trouble | None, *, due_at: datetime, now: datetime) -> Change:
        """Give a tick back with how it went. One that somebody else took over meanwhile is his to speak of."""
        with writing(self._engine) as session:
            row = self._own(name, session)
            if row is None:
                return Change.LOST
            row.owner = row.lease_until = None
            row.due_at = due_at
            row.ran_at = now
            return _tell(row, trouble, now)

    def tell(self, name: str, trouble: Trouble | None, *, lease: timedelta, due_at: datetime, now: datetime) -> Change:
        """Say how runs went of a tick that we go on to hold, and hold it for longer."""
        with writing(self._engine) as session:
            row = self._own(name, session)
            if row is None:
                return Change.LOST
            row.lease_until, row.due_at, row.ran_at = now + lease, due_at, now
            return _tell(row, trouble, now)

    def give_up(self, *places: str, now: datetime) -> None:
        """Leave, as a worker does that stops: what we hold is free at once.

        The ticks of our places (machine, or machine/worker) go altogether: another worker there makes them anew, and
        where none is left, nobody is to be told that they are overdue. Trouble stays, to be looked at again by whoever
        comes next.
        """
        mine = TickRow.owner == self._owner
        here = or_(*(TickRow.name.endswith(f"@{place}", autoescape=True) for place in places))
        ours = or_(mine, and_(TickRow.owner.is_(None), here))
        well = and_(here, TickRow.trouble.is_(None))
        silent = {"synchronize_session": False}
        with writing(self._engine) as session:
            session.execute(delete(TickRow).where(ours, well), execution_options=silent)
            free = update(TickRow).where(ours).values(owner=None, lease_until=None, due_at=now)
            session.execute(free, execution_options=silent)

    def forget(self, *, now: datetime) -> int:
        """Remove ticks of machines that nobody has heard of for a day; returns how many."""
        silent = (TickRow.name.contains("@"), TickRow.due_at < now - _FORGOTTEN_AFTER)
        unheld = or_(TickRow.lease_until.is_(None), TickRow.lease_until < now)
        with writing(self._engine) as session:
            return len(session.scalars(delete(TickRow).where(*silent, unheld).returning(TickRow.id)).all())

    def _own(self, name: str, session: Session) -> TickRow | None:
        return session.scalars(
            select(TickRow).where(TickRow.name == name, TickRow.owner == self._owner).with_for_update()
        ).one_or_none()


def tick_states(engine: Engine) -> list[TickState]:
    """All ticks, by name.

    Raises:
        Transient: the database does not answer.
    """
    with reading(engine) as session:
        return [_state(row) for row in session.scalars(select(TickRow).order_by(TickRow.name))]


def _free(owner: str, every: timedelta, lease: timedelta, now: datetime) -> tuple[ColumnElement[bool], ...]:
    due = or_(TickRow.due_at <= now, TickRow.due_at > now + _SKEW + max(every, lease))
    unheld = or_(
        TickRow.owner.is_(None),
        TickRow.owner == owner,
        TickRow.lease_until <= now,
        TickRow.lease_until > now + _SKEW + lease,
    )
    return due, unheld


def _tell(row: TickRow, trouble: Trouble | None, now: datetime) -> Change:
    before = row.trouble
    row.trouble = None if trouble is None else trouble.reason
    row.detail = "" if trouble is None else trouble.detail
    if trouble is None:
        row.troubled_since = None
        return Change.NONE if before is None else Change.MENDED
    if before is trouble.reason:
        return Change.NONE
    row.troubled_since = now
    return Change.TROUBLED


def _state(row: TickRow) -> TickState:
    name, _, machine = row.name.partition("@")
    return TickState(
        name=name,
        machine=machine,
        due_at=row.due_at,
        ran_at=row.ran_at,
        trouble=None if row.trouble is None else Trouble(reason=row.trouble, detail=row.detail),
        troubled_since=row.troubled_since,
    )
