"""A job's row and its moves; who holds its lease, and whether a report is on its way."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, bindparam, literal_column
from sqlalchemy.orm import Session

from ichd.domain.errors import LeaseLost
from ichd.domain.job import JobKind, JobState, move_job
from ichd.domain.reason import Reason
from ichd.store.tables import JobRow

#: Errors after which we know that the destination did not take the report: it was never offered. Not among them are
#: silence after it was sent, nor a refusal, which may be of an object that came after it.
_SURELY_NOT_TAKEN = frozenset(
    {
        Reason.ASSOCIATION_REJECTED,
        Reason.NO_ACCEPTED_CONTEXT,
        Reason.PEER_DENIED,
        Reason.DEMO_MODEL_BLOCKED,
        Reason.DESTINATION_UNKNOWN,
        Reason.REPORT_INVALID,
        Reason.FILE_DAMAGED,
    }
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A leased job, as its owner holds it."""

    id: int
    kind: JobKind
    study_id: int
    study_uid: str
    revision: int
    #: Name of the destination of a publish job.
    destination: str | None
    #: Counted from 1.
    attempt: int
    #: Unique to one life of one worker, e.g. host, process id and a random part: with `attempt` it names the lease.
    owner: str
    lease_until: datetime
    #: Its making, or when a person revived it.
    owed_since: datetime


#: Conditions as the partial indices of the table state them. A database that plans for any value of a parameter can't
#: tell that the index has what it looks for, so that they have none.
IS_LEASED = JobRow.lease_until.is_not(None)


def is_queued(row: type[JobRow]) -> ColumnElement[bool]:
    """Whether a job, which may be an alias, waits in the queue."""
    return row.state == literal_column(f"'{JobState.QUEUED}'")


def is_open(state: JobState) -> ColumnElement[bool]:
    """Whether a job is in a state that it is not done in."""
    if state is JobState.QUEUED:
        return is_queued(JobRow)
    if state is JobState.DEAD:
        return JobRow.state == bindparam("dead", JobState.DEAD, literal_execute=True)
    return and_(JobRow.state == state, IS_LEASED)


def lost(job: Job) -> LeaseLost:
    """What to raise where the lease of a job is no longer the caller's."""
    return LeaseLost(f"{job.kind} job {job.id}, attempt {job.attempt}, is no longer {job.owner}'s")


def held(session: Session, job: Job) -> JobRow:
    """The row of a job, locked, if the lease is still the caller's.

    Raises:
        LeaseLost: it is not.
    """
    row = session.get(JobRow, job.id, with_for_update=True, populate_existing=True)
    if row is None or row.state is not JobState.LEASED or (row.owner, row.attempt) != (job.owner, job.attempt):
        raise lost(job)
    return row


def finish(row: JobRow, *, now: datetime) -> None:
    """End it well; the caller holds the row's lock, here and below."""
    row.state = move_job(row.state, JobState.DONE)
    row.finished_at = now
    row.lease_until = None


def supersede(row: JobRow, *, now: datetime) -> None:
    """End it undone: a newer revision made it pointless."""
    finish(row, now=now)
    row.superseded = True


def bury(row: JobRow, *, now: datetime) -> None:
    """End it badly; a person may revive it."""
    row.state = move_job(row.state, JobState.DEAD)
    row.finished_at = now
    row.lease_until = None


def give_back(row: JobRow, *, run_at: datetime) -> None:
    """Queue it again, with the head start that it had."""
    row.state = move_job(row.state, JobState.QUEUED)
    postpone(row, run_at=run_at)
    row.owner = row.lease_until = row.finished_at = None


def postpone(row: JobRow, *, run_at: datetime) -> None:
    """Have it done not before `run_at`; it keeps its head start."""
    row.order_at += run_at - row.run_at
    row.run_at = run_at


def settle(row: JobRow, reason: Reason) -> None:
    """Take back that this attempt's report may have arrived, where its error says that it has not."""
    if row.unsettled and reason in _SURELY_NOT_TAKEN:
        row.unsettled -= 1
