"""The queue: five verbs over the job table, and three more: to look first, to give back, to wait for proof.

A job is the state of a study, so `enqueue`, `complete` and `fail` take the caller's open session and commit with it.
Whoever touches a study and its jobs in one transaction locks the study first: one order, no deadlocks.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Engine, Select, bindparam, exists, or_, select, update
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.dml import ReturningUpdate

from ichd.domain.finding import Triage
from ichd.domain.job import JobKind, JobState, move_job, order_of
from ichd.domain.reason import Reason
from ichd.store.columns import UtcDateTime
from ichd.store.destinations import closed_destinations
from ichd.store.job_row import Job, bury, finish, give_back, held, settle
from ichd.store.tables import JobRow, ReceiptRow, StudyRow
from ichd.store.transaction import reading, writing

__all__ = ["Job", "Queue"]


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
        triage: Triage | None,
        destination: str | None = None,
        now: datetime,
    ) -> None:
        """Add a job that may be claimed from `now` on, once the session commits.

        `triage` is what the newest finding of the study says, None where nobody knows.
        """
        session.add(
            JobRow(
                kind=kind,
                study_id=study_id,
                revision=revision,
                destination=destination,
                state=JobState.QUEUED,
                run_at=now,
                order_at=order_of(now, triage),
                owed_since=now,
                created_at=now,
            )
        )

    def is_due(
        self, *, now: datetime, kinds: Collection[JobKind] = tuple(JobKind), destination: str | None = None
    ) -> bool:
        """Whether `claim` would find a job. It takes no lock, which SQLite has one of for all.

        Raises:
            Transient: the database does not answer.
        """
        facts = {"now": now, "its_destination": destination}
        with reading(self._engine) as session:
            return session.scalar(_next_due(tuple(kinds), destination is not None), facts) is not None

    def claim(
        self,
        *,
        owner: str,
        lease_s: float,
        now: datetime,
        kinds: Collection[JobKind] = tuple(JobKind),
        destination: str | None = None,
    ) -> Job | None:
        """Lease the next job that is due, or None; with `destination`, the next delivery to it.

        Reports of one study reach a destination in the order of their revisions: a publish job waits while an earlier
        revision's has still to be sent. A destination whose newest attempt failed is left alone for a while, and then
        gets one report to try (`ichd.store.destinations`): ten that wait cost one timeout, not ten.

        Raises:
            Transient: the database does not answer.
        """
        lease_until = now + timedelta(seconds=lease_s)
        facts = {"now": now, "its_destination": destination, "its_owner": owner, "its_end": lease_until}
        statement = _claim(tuple(kinds), destination is not None)
        with writing(self._engine) as session:
            row = session.execute(statement, facts, execution_options={"synchronize_session": False}).one_or_none()
        if row is None:
            return None
        return Job(**row._mapping, owner=owner, lease_until=lease_until)

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

    def await_proof(self, session: Session, job: Job, *, look_at: datetime, now: datetime) -> None:
        """Queue a delivery again that was sent and is to be proved; it has failed in nothing.

        Raises:
            LeaseLost: the job is someone else's by now, or was superseded; the caller's transaction must not commit.
        """
        row = held(session, job)
        row.attempt = row.deaths = 0
        row.reason, row.detail = None, ""
        row.owed_since = now
        give_back(row, run_at=look_at)

    def fail(
        self,
        session: Session,
        job: Job,
        reason: Reason,
        detail: str,
        *,
        retry_at: datetime | None,
        crashes_allowed: int | None = None,
        now: datetime,
    ) -> JobState:
        """End an attempt: queued again for `retry_at`, or dead where that is None. Returns which.

        With `crashes_allowed` it crashed its worker, and is dead after so many in a row, deaths of workers included.

        Raises:
            LeaseLost: the job is someone else's by now, or was superseded; the caller's transaction must not commit.
        """
        row = held(session, job)
        row.reason, row.detail = reason, detail
        row.deaths = 0 if crashes_allowed is None else row.deaths + 1
        settle(row, reason)
        if retry_at is None or (crashes_allowed is not None and row.deaths >= crashes_allowed):
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


# Building them takes several times as long as the database takes for them. No parameter is called as a column is: an
# UPDATE would set it.
@cache
def _next_due(kinds: tuple[JobKind, ...], to_one: bool) -> Select[int]:
    """Id of the job to claim `now`: of one `destination`, of none where nothing is to be delivered, or any."""
    now = bindparam("now", type_=UtcDateTime())
    due, earlier = aliased(JobRow), aliased(JobRow)
    # What was sent and is not yet proved holds nothing up: the order of revisions is that of their sending.
    overtakes = exists().where(
        earlier.study_id == due.study_id,
        earlier.destination == due.destination,
        earlier.revision < due.revision,
        earlier.state.in_((JobState.QUEUED, JobState.LEASED)),
        ~exists().where(ReceiptRow.job_id == earlier.id),
    )
    statement = select(due.id).where(due.state == JobState.QUEUED, due.run_at <= now, due.kind.in_(kinds), ~overtakes)
    if to_one:
        statement = statement.where(due.destination == bindparam("its_destination"))
    elif JobKind.PUBLISH not in kinds:
        statement = statement.where(due.destination.is_(None))
    if JobKind.PUBLISH in kinds:
        left_alone = closed_destinations(now)
        statement = statement.where(or_(due.destination.is_(None), due.destination.not_in(left_alone)))
    return statement.order_by(due.order_at, due.id).limit(1)


@cache
def _claim(kinds: tuple[JobKind, ...], to_one: bool) -> ReturningUpdate[Any]:
    """Lease that job to `its_owner` until `its_end`."""
    next_id = (
        _next_due(kinds, to_one)
        .with_for_update(skip_locked=True)  # left out where there is a single writer anyway: SQLite
        .scalar_subquery()
    )
    study_uid = select(StudyRow.study_instance_uid).where(StudyRow.id == JobRow.study_id).correlate(JobRow)
    return (
        update(JobRow)
        .where(JobRow.id == next_id)
        .values(
            state=move_job(JobState.QUEUED, JobState.LEASED),
            owner=bindparam("its_owner"),
            begun=False,
            attempt=JobRow.attempt + 1,
            lease_until=bindparam("its_end", type_=UtcDateTime()),
        )
        .returning(
            JobRow.id,
            JobRow.kind,
            JobRow.study_id,
            JobRow.revision,
            JobRow.destination,
            JobRow.attempt,
            JobRow.owed_since,
            study_uid.scalar_subquery().label("study_uid"),
        )
    )
