"""The worker: claim, step, complete, until told to stop.

Only this loop retries. A step that ends in `Transient` goes back to the queue with backoff; one that ends in
`Permanent` is dead with its reason and waits for a person; a worker that dies leaves a lease that expires.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from ichd.domain.errors import IchdError, LeaseLost, Permanent, Transient
from ichd.domain.job import JobKind, RetryPolicy, retry_delay
from ichd.domain.reason import Reason
from ichd.pipeline.clock import Clock
from ichd.pipeline.idle import IdleWork
from ichd.store.queue import Job, Queue
from ichd.store.studies import Studies

log = structlog.get_logger(__name__)

Step = Callable[[Job], None]

#: Attempts of a job that may end in an error that nobody foresaw.
_CRASHES_ALLOWED = 3
_CRASH_PAUSE_S = 5.0
#: A worker that rests waits for its bell, and nothing can wait for two events at once.
_STOP_SEEN_AFTER_S = 0.2
#: For which a process that abandons a job waits for its other lanes to do the same.
_SIBLINGS_S = 0.5


class WorkerHarmed(IchdError):
    """A step met what nobody foresaw; whatever it left behind in this process must not touch the next study."""


@dataclass(frozen=True, kw_only=True)
class WorkerPolicy:
    """Rhythm of a worker, in seconds."""

    poll_s: float
    lease_s: float
    grace_s: float
    retry: RetryPolicy


class Worker:
    """One worker: one job at a time, in the thread that calls `run`, of the kinds that it has steps for."""

    def __init__(
        self,
        *,
        owner: str,
        queue: Queue,
        studies: Studies,
        steps: Mapping[JobKind, Step],
        policy: WorkerPolicy,
        clock: Clock,
        idle: IdleWork | None = None,
        bell: threading.Event | None = None,
        destination: str | None = None,
    ) -> None:
        """`bell` is rung by whoever makes a job in this process; those of other processes are found by polling.

        With `destination` it is a courier's lane, and takes the deliveries of that one only.
        """
        self._owner = owner
        self._queue = queue
        self._studies = studies
        self._steps = steps
        self._policy = policy
        self._clock = clock
        self._idle = idle or IdleWork({}, clock)
        self._bell = bell or threading.Event()
        self._destination = destination
        self._busy = False
        #: Said once when it goes and once when it comes back: a database may be away for a night.
        self._queue_away = False
        self._random = random.Random(owner)  # noqa: S311 - spreads retries, protects nothing

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; the job in hand is finished first, or given back after the grace period.

        Idle work is done a piece at a time, and only when the queue has just said that no job is due.
        """
        while not stop.is_set():
            job = self._claim()
            if job is None:
                if not self._idle.step():
                    self._rest(stop)
                continue
            with _Heartbeat(job, self._queue, self._policy, self._clock, stop):
                unharmed = self.work(job)
            if not unharmed:
                raise WorkerHarmed(f"stopped after a defect in a {job.kind} job; the supervisor starts another worker")

    def _rest(self, stop: threading.Event) -> None:
        """Until the queue is to be asked again, the bell rings, or a look at `stop` is due."""
        asks_at = time.monotonic() + self._policy.poll_s
        while not stop.is_set() and (left_s := asks_at - time.monotonic()) > 0:
            if self._bell.wait(min(left_s, _STOP_SEEN_AFTER_S)):
                self._bell.clear()
                return

    def work(self, job: Job) -> bool:
        """Do one job, and record what came of it; False where this process is not to be trusted with another."""
        try:
            self._steps[job.kind](job)
        except LeaseLost:
            log.warning("job_given_away", study=job.study_uid, kind=job.kind, attempt=job.attempt)
        except Transient as error:
            self._retry_later(job, error)
        except Permanent as error:
            self._give_up(job, error.reason, error.detail)
        except Exception as error:  # the one broad except: whatever it is, the job must say so
            log.exception("job_crashed", study=job.study_uid, kind=job.kind, attempt=job.attempt)
            self._crashed(job, type(error).__name__)
            return False
        return True

    def _crashed(self, job: Job, what: str) -> None:
        """Memory that ran out or a GPU that lost its mind may be well in a new process; a true defect comes again."""
        retry_at = self._clock() + timedelta(seconds=_CRASH_PAUSE_S)
        self._record_failure(job, Reason.INTERNAL_ERROR, what, retry_at, crashes_allowed=_CRASHES_ALLOWED)

    def _claim(self) -> Job | None:
        try:
            job = self._next()
        except Transient as error:
            if not self._queue_away:
                log.warning("queue_unavailable", reason=error.reason, detail=error.detail)
            self._queue_away = True
            return None
        if self._queue_away:
            self._queue_away = False
            log.info("queue_available_again")
        return job

    def _next(self) -> Job | None:
        kinds, now = tuple(self._steps), self._clock()
        # Where one job was, more are: then the look is spared, and the claim's lock is worth it.
        if not self._busy and not self._queue.is_due(now=now, kinds=kinds, destination=self._destination):
            return None
        job = self._queue.claim(
            owner=self._owner, lease_s=self._policy.lease_s, now=now, kinds=kinds, destination=self._destination
        )
        self._busy = job is not None
        return job

    def _retry_later(self, job: Job, error: Transient) -> None:
        retry, owed_for = self._policy.retry, self._clock() - job.owed_since
        delay = retry_delay(retry, job.attempt, self._random.random(), owed_for=owed_for)
        if delay is None:
            reason = Reason.ATTEMPTS_EXHAUSTED if job.attempt >= retry.max_attempts else Reason.GIVEN_UP
            hours = owed_for.total_seconds() / 3600
            self._give_up(job, reason, f"{job.attempt} attempts in {hours:.3g} h, last: {error}")
            return
        log.warning(
            "job_retried_later",
            study=job.study_uid,
            kind=job.kind,
            attempt=job.attempt,
            reason=error.reason,
            detail=error.detail,
            delay_s=round(delay.total_seconds(), 1),
        )
        now = self._clock()
        self._record_failure(job, error.reason, error.detail, now + delay)

    def _give_up(self, job: Job, reason: Reason, detail: str) -> None:
        log.error("job_dead", study=job.study_uid, kind=job.kind, reason=reason, detail=detail)
        self._record_failure(job, reason, detail, None)

    def _record_failure(
        self, job: Job, reason: Reason, detail: str, retry_at: datetime | None, *, crashes_allowed: int | None = None
    ) -> None:
        try:
            self._studies.failed(
                job, reason, detail, retry_at=retry_at, crashes_allowed=crashes_allowed, now=self._clock()
            )
        except (LeaseLost, Transient):
            # Nothing is lost: the lease expires and the job is claimed again.
            log.warning("failure_not_recorded", study=job.study_uid, kind=job.kind)


class _Heartbeat:
    """Keeps the lease of the job in hand, and enforces the grace period of a stopping worker."""

    def __init__(self, job: Job, queue: Queue, policy: WorkerPolicy, clock: Clock, stop: threading.Event) -> None:
        self._job = job
        self._queue = queue
        self._policy = policy
        self._clock = clock
        self._stop = stop
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        interval_s = self._policy.lease_s / 3
        stopping_s = 0.0
        waited_s = 0.0
        tick_s = min(interval_s, 0.2)
        while not self._done.wait(tick_s):
            waited_s += tick_s
            stopping_s += tick_s if self._stop.is_set() else 0.0
            if stopping_s >= self._policy.grace_s:
                self._abandon()
            if waited_s >= interval_s:
                waited_s = 0.0
                self._extend()

    def _extend(self) -> None:
        try:
            self._job = self._queue.extend(self._job, lease_s=self._policy.lease_s, now=self._clock())
        except (LeaseLost, Transient) as error:
            # The step goes on: its completion checks the lease, so a lost one changes nothing.
            log.warning("lease_not_extended", study=self._job.study_uid, error=type(error).__name__)

    def _abandon(self) -> None:
        """A step can't be interrupted from outside, but its process can end: nothing of it was committed."""
        log.warning("job_released_unfinished", study=self._job.study_uid, kind=self._job.kind)
        try:
            self._queue.release(self._job, now=self._clock())
        except (LeaseLost, Transient):
            log.warning("lease_not_released", study=self._job.study_uid)
        # The other lanes of this process run out of their time in this moment, too.
        time.sleep(_SIBLINGS_S)
        os._exit(0)
