"""What becomes of jobs beside the usual way: their study moved on, nobody takes them, a person revived them.

Each function works in the caller's transaction, which has locked the study.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.store.destinations import hasten
from ichd.store.job_row import Job, bury, give_back, held, postpone, settle, supersede
from ichd.store.tables import DestinationRow, JobRow

#: A delivery that was due for so long, and nobody took it.
_NOBODYS_AFTER = timedelta(minutes=10)


def stranded(session: Session, destinations: Collection[str], *, now: datetime) -> list[tuple[int, int, str]]:
    """Queued deliveries to others than these that nobody takes either, with their study and destination.

    A worker of another machine may know them: then it takes one now and then, or has found them away a moment ago.
    """
    before = now - _NOBODYS_AFTER
    under_way = select(JobRow.destination).where(JobRow.state == JobState.LEASED, JobRow.destination.is_not(None))
    tried = select(DestinationRow.name).where(DestinationRow.failures > 0, DestinationRow.closed_until > before)
    statement = select(JobRow.id, JobRow.study_id, JobRow.destination).where(
        JobRow.state == JobState.QUEUED,
        JobRow.run_at < before,
        JobRow.destination.is_not(None),
        JobRow.destination.not_in(destinations),
        JobRow.destination.not_in(under_way),
        JobRow.destination.not_in(tried),
    )
    return [(row.id, row.study_id, str(row.destination)) for row in session.execute(statement)]


def strand(session: Session, job_id: int, detail: str, *, revision: int, now: datetime) -> JobState | None:
    """End a queued delivery that no lane takes; returns the new state, None where somebody came first."""
    row = session.get_one(JobRow, job_id, with_for_update=True, populate_existing=True)
    if row.state is not JobState.QUEUED:
        return None
    if row.revision < revision:
        supersede(row, now=now)
        return row.state
    row.reason, row.detail = Reason.DESTINATION_UNKNOWN, detail
    bury(row, now=now)
    return row.state


def supersede_earlier(session: Session, *, study_id: int, revision: int, now: datetime) -> None:
    """End what earlier revisions than `revision` still had to do.

    A delivery that is under way is left to end by itself, because the destination may have taken it already;
    `claim` makes the next revision wait for it. A reading that is under way loses its lease.
    """
    pending = (JobState.QUEUED, JobState.LEASED)
    statement = (
        select(JobRow)
        .where(JobRow.study_id == study_id, JobRow.revision < revision, JobRow.state.in_(pending))
        .with_for_update()
    )
    for row in session.scalars(statement):
        if row.kind is JobKind.ANALYSE or row.state is JobState.QUEUED:
            supersede(row, now=now)


def withdraw(session: Session, job: Job, reason: Reason, *, now: datetime) -> None:
    """End a leased job of an earlier revision that failed: there is nothing to retry any more.

    Raises:
        LeaseLost: the job is someone else's by now; the caller's transaction must not commit.
    """
    row = held(session, job)
    settle(row, reason)
    supersede(row, now=now)


def revive(session: Session, *, study_id: int, revision: int, now: datetime) -> list[JobKind]:
    """Make the dead jobs of a revision due again with fresh attempts, and those that wait for a retry due now.

    Returns the kind of each.
    """
    statement = (
        select(JobRow)
        .where(JobRow.study_id == study_id, JobRow.revision == revision)
        .where(JobRow.state.in_((JobState.DEAD, JobState.QUEUED)))
        .with_for_update()
    )
    rows = session.scalars(statement).all()
    reopened = hasten(session, {row.destination for row in rows if row.destination is not None}, now=now)
    revived = []
    for row in rows:
        if row.state is JobState.DEAD:
            row.attempt = row.deaths = 0
            row.owed_since = now
            give_back(row, run_at=now)
        elif row.run_at > now or row.destination in reopened:
            postpone(row, run_at=now)
        else:
            continue
        revived.append(row.kind)
    return revived
