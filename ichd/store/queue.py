"""The queue: five verbs over the job table, and three more: to look first, to give back, to wait for proof.

A job is the state of a study, so `enqueue`, `complete` and `fail` take the caller's open session and commit with it.
Whoever touches a study and its jobs in one transaction locks the study first: one order, no deadlocks.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ichd.domain.finding import Triage
from ichd.domain.job import JobKind, JobState, order_of
from ichd.domain.reason import Reason
from ichd.store.job_row import Job, bury, give_back, held, lost, settle
from ichd.store.queue_statements import claim, complete, extend, next_due
from ichd.store.statements import Statements
from ichd.store.tables import JobRow
from ichd.store.transaction import reading, writing

__all__ = ["Job", "Queue"]


class Queue:
    """Jobs that are claimed by one worker at a time, and by another one once a lease has expired."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._statements = Statements(engine)

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
        statement = next_due(frozenset(kinds), destination is not None)
        return self._statements.row(statement, facts, writes=False) is not None

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
        row = self._statements.row(claim(frozenset(kinds), destination is not None), facts, awaited=False)
        return None if row is None else Job(**row, owner=owner, lease_until=lease_until)

    def extend(self, job: Job, *, lease_s: float, now: datetime) -> Job:
        """Keep a lease alive; the returned job replaces the given one.

        Raises:
            LeaseLost: the job is someone else's by now, or was superseded.
            Transient: the database does not answer.
        """
        extended = replace(job, lease_until=now + timedelta(seconds=lease_s))
        if not self._statements.change(extend(), _lease(job) | {"its_end": extended.lease_until}):
            raise lost(job)
        return extended

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

    def complete(self, session: Session | None, job: Job, *, now: datetime) -> None:
        """End a job well; without a session nothing else commits with it, and it is one way there and back.

        Raises:
            LeaseLost: the job is someone else's by now, or was superseded; the caller's transaction must not commit.
            Transient: without a session, the database does not answer.
        """
        facts = _lease(job) | {"now": now}
        if session is None:
            changed = self._statements.change(complete(), facts)
        else:
            # Past the object mapper: nobody looks at the row again, and it need not be read to be ended.
            changed = session.connection().execute(complete(), facts).rowcount
        if not changed:
            raise lost(job)

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


def _lease(job: Job) -> dict[str, Any]:
    """What names it."""
    return {"its_id": job.id, "its_owner": job.owner, "its_attempt": job.attempt}
