"""The queue: five verbs over the job table, and two more for a worker that stops or dies.

A job is the state of a study, so `enqueue`, `complete` and `fail` take the caller's open session and commit with it.
Whoever touches a study and its jobs in one transaction locks the study first: one order, no deadlocks.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Engine, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from ichd.domain.job import JobKind, JobState, RetryPolicy, move_job, retry_delay
from ichd.domain.reason import Reason
from ichd.store.destinations import closed_destinations, hasten
from ichd.store.job_row import Job, bury, finish, give_back, held, settle, supersede
from ichd.store.tables import JobRow, StudyRow
from ichd.store.transaction import reading, writing

__all__ = ["Job", "Queue"]

#: A delivery takes a moment and is what everybody waits for, so it goes before the reading of the next study.
_PRIORITY = {JobKind.PUBLISH: 10, JobKind.ANALYSE: 20}
#: Of a job that failed: a destination that hangs must not keep studies from being read.
_AFTER_FAILURE = max(_PRIORITY.values())


class Queue:
    """Jobs that are claimed by one worker at a time, and by another one once a lease has expired."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def enqueue(
        self,
        session: Session,
        *,
        kind: JobKind,
        study_id: int,
        revision: int,
        destination: str | None = None,
        now: datetime,
    ) -> None:
        """Add a job that may be claimed from `now` on, once the session commits."""
        session.add(
            JobRow(
                kind=kind,
                study_id=study_id,
                revision=revision,
                destination=destination,
                state=JobState.QUEUED,
                priority=_PRIORITY[kind],
                run_at=now,
                created_at=now,
            )
        )

    def claim(
        self, *, owner: str, lease_s: float, now: datetime, kinds: Collection[JobKind] = tuple(JobKind)
    ) -> Job | None:
        """Lease the next job that is due, or None.

        Reports of one study reach a destination in the order of their revisions: a publish job waits while an earlier
        revision's is still under way. A destination whose newest attempt failed is left alone for a while, and then
        gets one report to try (`ichd.store.destinations`): ten that wait cost one timeout, not ten.

        Raises:
            Transient: the database does not answer.
        """
        due, earlier = aliased(JobRow), aliased(JobRow)
        overtakes = exists().where(
            earlier.study_id == due.study_id,
            earlier.destination == due.destination,
            earlier.revision < due.revision,
            earlier.state.in_((JobState.QUEUED, JobState.LEASED)),
        )
        next_id = (
            select(due.id)
            .where(due.state == JobState.QUEUED, due.run_at <= now, due.kind.in_(kinds), ~overtakes)
            .where(or_(due.destination.is_(None), due.destination.not_in(closed_destinations(now))))
            .order_by(due.priority, due.run_at)
            .limit(1)
            .with_for_update(of=due, skip_locked=True)  # left out where there is a single writer anyway: SQLite
            .scalar_subquery()
        )
        study_uid = select(StudyRow.study_instance_uid).where(StudyRow.id == JobRow.study_id).correlate(JobRow)
        statement = (
            update(JobRow)
            .where(JobRow.id == next_id)
            .values(
                state=move_job(JobState.QUEUED, JobState.LEASED),
                owner=owner,
                attempt=JobRow.attempt + 1,
                lease_until=now + timedelta(seconds=lease_s),
            )
            .returning(
                JobRow.id,
                JobRow.kind,
                JobRow.study_id,
                JobRow.revision,
                JobRow.destination,
                JobRow.attempt,
                study_uid.scalar_subquery().label("study_uid"),
            )
        )
        with writing(self._engine) as session:
            row = session.execute(statement, execution_options={"synchronize_session": False}).one_or_none()
        if row is None:
            return None
        return Job(**row._mapping, owner=owner, lease_until=now + timedelta(seconds=lease_s))

    def extend(self, job: Job, *, lease_s: float, now: datetime) -> Job:
        """Keep a lease alive; the returned job replaces the given one.

        Raises:
            LeaseLost: the job is someone else's by now, or was superseded.
            Transient: the database does not answer.
        """
        with writing(self._engine) as session:
            row = held(session, job)
            row.lease_until = now + timedelta(seconds=lease_s)
        return replace(job, lease_until=now + timedelta(seconds=lease_s))

    def release(self, job: Job, *, now: datetime) -> None:
        """Give a job back untouched, as a worker does that is told to stop: due at once, the attempt not counted.

        Raises:
            LeaseLost: the job is someone else's by now, or was superseded.
            Transient: the database does not answer.
        """
        with writing(self._engine) as session:
            row = held(session, job)
            give_back(row, run_at=now)
            row.attempt -= 1

    def complete(self, session: Session, job: Job, *, now: datetime) -> None:
        """End a job well.

        Raises:
            LeaseLost: the job is someone else's by now, or was superseded; the caller's transaction must not commit.
        """
        finish(held(session, job), now=now)

    def fail(
        self,
        session: Session,
        job: Job,
        reason: Reason,
        detail: str,
        *,
        retry_at: datetime | None,
        now: datetime,
    ) -> JobState:
        """End an attempt: queued again for `retry_at`, or dead where that is None. Returns which.

        Raises:
            LeaseLost: the job is someone else's by now, or was superseded; the caller's transaction must not commit.
        """
        row = held(session, job)
        row.reason, row.detail = reason, detail
        row.deaths = 0
        row.priority = _AFTER_FAILURE
        settle(row, reason)
        if retry_at is None:
            bury(row, now=now)
        else:
            give_back(row, run_at=retry_at)
        return row.state

    def expired(self, *, now: datetime) -> list[tuple[int, int, str | None]]:
        """Jobs whose lease ran out, with study and destination: the worker died, or was so slow that it counts as dead.

        Raises:
            Transient: the database does not answer.
        """
        statement = select(JobRow.id, JobRow.study_id, JobRow.destination).where(JobRow.lease_until < now)
        with reading(self._engine) as session:
            return [(row.id, row.study_id, row.destination) for row in session.execute(statement)]

    def bereave(
        self,
        session: Session,
        job_id: int,
        *,
        revision: int,
        retry: RetryPolicy,
        max_deaths: int,
        now: datetime,
    ) -> JobState | None:
        """Take an expired job from its dead worker: queued again, or dead with WORKER_DIED after `max_deaths` in a row.

        The first death is most likely a restart and costs no wait; a job that kills its workers waits longer each time.
        One of an earlier revision than the study's present `revision` just ends. Returns the new state, None where
        somebody else came first.
        """
        row = session.get_one(JobRow, job_id, with_for_update=True, populate_existing=True)
        if row.lease_until is None or row.lease_until >= now:
            return None
        if row.revision < revision:
            supersede(row, now=now)
            return row.state
        row.deaths += 1
        row.priority = _AFTER_FAILURE
        row.reason, row.detail = Reason.WORKER_DIED, f"{row.deaths} in a row"
        delay = timedelta() if row.deaths == 1 else retry_delay(retry, row.deaths - 1, 0.0)
        if row.deaths >= max_deaths or delay is None:
            bury(row, now=now)
        else:
            give_back(row, run_at=now + delay)
        return row.state

    def supersede(self, session: Session, *, study_id: int, revision: int, now: datetime) -> None:
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

    def withdraw(self, session: Session, job: Job, reason: Reason, *, now: datetime) -> None:
        """End a leased job of an earlier revision that failed: there is nothing to retry any more.

        Raises:
            LeaseLost: the job is someone else's by now; the caller's transaction must not commit.
        """
        row = held(session, job)
        settle(row, reason)
        supersede(row, now=now)

    def revive(self, session: Session, *, study_id: int, revision: int, now: datetime) -> list[JobKind]:
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
                row.priority = _PRIORITY[row.kind]
                give_back(row, run_at=now)
            elif row.run_at > now or row.destination in reopened:
                row.run_at = now
            else:
                continue
            revived.append(row.kind)
        return revived
