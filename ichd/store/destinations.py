"""How each destination answers: one that fails is left alone for a while, and then tried with one report.

Each report has its own pauses as well; without this, ten that wait for a destination that hangs would each pay its
timeout, one after the other.
"""

import sys
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import BindParameter, Select, or_, select, update
from sqlalchemy.orm import Session

from ichd.domain.job import RetryPolicy, retry_delay
from ichd.domain.reason import Reason
from ichd.store.job_row import IS_LEASED
from ichd.store.tables import DestinationRow, JobRow
from ichd.store.transaction import insert_link

#: A destination that has come back should not wait longer for its first report.
LONGEST_PAUSE = timedelta(minutes=1)
_COOL_OFF = RetryPolicy(first_s=2.0, factor=2.0, ceiling_s=LONGEST_PAUSE.total_seconds(), max_attempts=sys.maxsize)

#: Errors that the next report would meet as well. Others are about one report, or about our own database.
_TROUBLE = frozenset(
    {
        Reason.PEER_UNREACHABLE,
        Reason.ASSOCIATION_REJECTED,
        Reason.ASSOCIATION_LOST,
        Reason.PEER_BUSY,
        Reason.PEER_DENIED,
        Reason.PEER_CONFUSED,
    }
)


def closed_destinations(now: BindParameter[datetime]) -> Select[str]:
    """Names of those that are left alone at `now`, or that are being tried already.

    It depends on no row of the statement around it, so that a claim works it out once, however many reports wait. With
    PostgreSQL, workers that ask in the same instant may each try a destination once.
    """
    being_tried = select(JobRow.destination).where(IS_LEASED, JobRow.destination.is_not(None))
    left_alone = or_(DestinationRow.closed_until > now, DestinationRow.name.in_(being_tried))
    return select(DestinationRow.name).where(DestinationRow.failures > 0, left_alone)


def note_failure(session: Session, name: str, reason: Reason, *, now: datetime) -> None:
    """Leave a destination alone for longer with each failure in a row."""
    if reason not in _TROUBLE:
        return
    insert_link(session, DestinationRow, {"name": name, "failures": 0, "closed_until": now})
    row = session.scalars(select(DestinationRow).where(DestinationRow.name == name).with_for_update()).one()
    row.failures += 1
    row.closed_until = now + (retry_delay(_COOL_OFF, row.failures, 0.0) or now - now)


def note_success(session: Session, name: str) -> None:
    """It answers: everything that waits for it may go."""
    failing = (DestinationRow.name == name, DestinationRow.failures > 0)
    session.execute(update(DestinationRow).where(*failing).values(failures=0))


def hasten(session: Session, names: Collection[str], *, now: datetime) -> frozenset[str]:
    """A person says that they should be tried now; returns those that were left alone."""
    closed = (DestinationRow.name.in_(names), DestinationRow.failures > 0, DestinationRow.closed_until > now)
    statement = update(DestinationRow).where(*closed).values(closed_until=now).returning(DestinationRow.name)
    return frozenset(session.scalars(statement))
