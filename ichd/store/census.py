"""How things stand now, for whoever watches: counts that cost the same with a million studies as with ten.

Nothing finished is counted. What waits, works or failed lies together in an index by its state, and is counted up to a
bound; the oldest of it is the first in that index.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select, func, select
from sqlalchemy.orm import Session

from ichd.domain.job import JobKind, JobState
from ichd.domain.study import StudyState
from ichd.store.job_row import is_open
from ichd.store.tables import DestinationRow, InstanceRow, JobRow, RemovalRow, StudyRow, UploadRow
from ichd.store.transaction import reading

#: Nobody acts otherwise on more than these.
AT_MOST = 10_000
#: Among so many that are first in the order of the queue the oldest is looked for.
_FIRST = 200
OPEN_JOBS = (JobState.QUEUED, JobState.LEASED, JobState.DEAD)
UNFINISHED = (StudyState.RECEIVING, StudyState.READY, StudyState.ANALYSING)


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Some that wait for the same."""

    #: At most `AT_MOST`.
    count: int
    #: Of the oldest; None where there is none.
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Census:
    """How things stand."""

    #: By kind and state.
    jobs: dict[tuple[JobKind, JobState], Crowd] = field(default_factory=dict)
    #: By destination and state.
    deliveries: dict[tuple[str, JobState], int] = field(default_factory=dict)
    studies: dict[StudyState, Crowd] = field(default_factory=dict)
    #: In a row, by destination; one that never failed is not there.
    failures: dict[str, int] = field(default_factory=dict)
    last_image_at: datetime | None = None
    #: Files that the bucket has not got yet, by machine.
    uploads: dict[str, Crowd] = field(default_factory=dict)
    #: Objects of dropped images that are still to leave it.
    removals: Crowd = Crowd(count=0)


def peaks_of(census: Census, now: datetime) -> dict[str, float]:
    """What of it is worth keeping each hour at its worst, by the name of its figure (`ichd.store.days.PEAKS`)."""
    peaks: dict[str, float] = {}
    for kind in JobKind:
        queued, leased = (census.jobs[kind, state] for state in (JobState.QUEUED, JobState.LEASED))
        peaks[f"queue_peak/{kind.value}"] = queued.count + leased.count
        peaks[f"wait_peak_s/{kind.value}"] = max(0.0, (now - (queued.since or now)).total_seconds())
    for (destination, state), owed in census.deliveries.items():
        if state is not JobState.DEAD:
            peaks[f"owed_peak/{destination}"] = peaks.get(f"owed_peak/{destination}", 0.0) + owed
    return peaks | {f"failures_peak/{name}": failures for name, failures in census.failures.items()}


def take_census(engine: Engine) -> Census:
    """Count.

    Raises:
        Transient: the database does not answer.
    """
    census = Census()
    with reading(engine) as session:
        for state in OPEN_JOBS:
            _count_jobs(session, state, census)
        for study_state in (*UNFINISHED, StudyState.FAILED):
            census.studies[study_state] = _studies(session, study_state)
        for row in session.scalars(select(DestinationRow)):
            census.failures[row.name] = row.failures
        _count_uploads(session, census)
        newest = select(InstanceRow.received_at).order_by(InstanceRow.id.desc()).limit(1)
        return replace(census, last_image_at=session.scalar(newest), removals=_removals(session))


def _count_jobs(session: Session, state: JobState, census: Census) -> None:
    in_state = is_open(state)
    readings = select(JobRow.destination).where(in_state, JobRow.destination.is_(None))
    first = select(JobRow.owed_since).where(in_state)
    ordered = first.where(JobRow.destination.is_(None)).order_by(JobRow.order_at).limit(_FIRST)
    count = _bounded(session, readings)
    census.jobs[JobKind.ANALYSE, state] = Crowd(count=count, since=_oldest(session, ordered) if count else None)
    sending = select(JobRow.destination).where(in_state, JobRow.destination.is_not(None)).limit(AT_MOST)
    each = sending.subquery()
    rows = session.execute(select(each.c.destination, func.count()).group_by(each.c.destination)).all()
    since: list[datetime] = []
    for destination, owed in rows:
        census.deliveries[destination, state] = owed
        lane = first.where(JobRow.destination == destination).order_by(JobRow.order_at).limit(_FIRST)
        oldest = _oldest(session, lane)
        since += [] if oldest is None else [oldest]
    total = sum(owed for _, owed in rows)
    census.jobs[JobKind.PUBLISH, state] = Crowd(count=total, since=min(since, default=None))


def _studies(session: Session, state: StudyState) -> Crowd:
    of_state = StudyRow.state == state
    oldest = select(StudyRow.received_at).where(of_state).order_by(StudyRow.received_at).limit(1)
    return Crowd(count=_bounded(session, select(StudyRow.received_at).where(of_state)), since=session.scalar(oldest))


def _count_uploads(session: Session, census: Census) -> None:
    owed = select(UploadRow.machine, UploadRow.stored_at).order_by(UploadRow.id).limit(AT_MOST).subquery()
    rows = session.execute(select(owed.c.machine, func.count(), func.min(owed.c.stored_at)).group_by(owed.c.machine))
    for machine, count, since in rows:
        census.uploads[machine] = Crowd(count=count, since=since)


def _removals(session: Session) -> Crowd:
    owed = select(RemovalRow.owed_at)
    oldest = session.scalar(owed.order_by(RemovalRow.id).limit(1))
    return Crowd(count=_bounded(session, owed), since=oldest)


def _bounded(session: Session, rows: Select[Any]) -> int:
    return session.scalar(select(func.count()).select_from(rows.limit(AT_MOST).subquery())) or 0


def _oldest(session: Session, rows: Select[datetime]) -> datetime | None:
    first = rows.subquery()
    since: datetime | None = session.scalar(select(func.min(first.c.owed_since)))
    return since
