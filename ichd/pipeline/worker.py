"""The worker: claim, step, complete, until told to stop.

Only this loop retries. A step that ends in `Transient` goes back to the queue with backoff; one that ends in
`Permanent` is dead with its reason and waits for a person; a worker that dies leaves a lease that expires. One that
only seemed dead, because it was cut off from the database or stopped for longer than its lease, says so as soon as it
is heard again: a study must not be taken for poison because a network failed twice.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import structlog

from ichd.domain.errors import IchdError, LeaseLost, Permanent, Transient
from ichd.domain.job import JobKind, retry_delay
from ichd.domain.reason import Reason
from ichd.pipeline.clock import Clock
from ichd.pipeline.heartbeat import Heartbeat, WorkerPolicy
from ichd.pipeline.idle import IdleWork
from ichd.pipeline.vigil import Vigil
from ichd.store.queue import Job, Queue
from ichd.store.studies import Studies

__all__ = ["Worker", "WorkerHarmed", "WorkerPolicy"]

log = structlog.get_logger(__name__)

Step = Callable[[Job], None]

#: Attempts of a job that may end in an error that nobody foresaw.
_CRASHES_ALLOWED = 3
_CRASH_PAUSE_S = 5.0
#: A worker that rests waits for its bell, and nothing can wait for two events at once.
_STOP_SEEN_AFTER_S = 0.2


class WorkerHarmed(IchdError):
    """A step met what nobody foresaw; whatever it left behind in this process must not touch the next study."""


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
        vigil: Vigil | None = None,
    ) -> None:
        """`bell` is rung by whoever makes a job in this process; those of other processes are found by polling.

        With `destination` it is a courier's lane, and takes the deliveries of that one only. `vigil` is that of its
        process, shared with its other lanes.
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
        self._vigil = vigil or Vigil(queue, clock)
        #: Jobs of which the database could not be told that we live, and no longer work on them.
        self._unheard: list[Job] = []
        self._busy = False
        #: Said once when it goes and once when it comes back: a database may be away for a night.
        self._queue_away = False
        self._random = random.Random(owner)  # noqa: S311 - spreads retries, protects nothing

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set or the process is to be replaced; the job in hand is finished first.

        One that outlasts the grace period after `stop` is given back. Idle work is done a piece at a time, and only
        when the queue has just said that no job is due.
        """
        while not self._is_over(stop):
            self._vigil.sign(self._owner)
            job = self._claim()
            if job is None:
                if not self._idle.step():
                    self._rest(stop)
                continue
            with self._heartbeat(job, stop):
                unharmed = self.work(job)
            self._vigil.weigh()
            if not unharmed:
                raise WorkerHarmed(f"stopped after a defect in a {job.kind} job; the supervisor starts another worker")

    @property
    def is_lost(self) -> bool:
        """Whether its thread hangs in a step past its time, and is not to be waited for."""
        return self._vigil.is_lost(self._owner)

    def _is_over(self, stop: threading.Event) -> bool:
        return stop.is_set() or self._vigil.recycling

    def _heartbeat(self, job: Job, stop: threading.Event) -> Heartbeat:
        return Heartbeat(
            job,
            queue=self._queue,
            policy=self._policy,
            clock=self._clock,
            stop=stop,
            vigil=self._vigil,
            cut_short=self._cut_short,
            given_away=self._vouch,
        )

    def _rest(self, stop: threading.Event) -> None:
        """Until the queue is to be asked again, the bell rings, or a look at `stop` is due."""
        asks_at = time.monotonic() + self._policy.poll_s
        while not self._is_over(stop) and (left_s := asks_at - time.monotonic()) > 0:
            if self._bell.wait(min(left_s, _STOP_SEEN_AFTER_S)):
                self._bell.clear()
                return

    def work(self, job: Job) -> bool:
        """Do one job, and record what came of it; False where this process is not to be trusted with another."""
        try:
            self._steps[job.kind](job)
        except LeaseLost:
            log.warning("job_given_away", study=job.study_uid, kind=job.kind, attempt=job.attempt)
            self._vouch(job)
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

    def _cut_short(self, job: Job, reason: Reason, detail: str) -> None:
        """Past its time, or over all measure in memory: its process ends, in the middle of it."""
        log.error("job_cut_short", study=job.study_uid, kind=job.kind, reason=reason, detail=detail)
        if job.kind is JobKind.PUBLISH and reason is Reason.TIME_LIMIT_EXCEEDED:
            # The peer hangs, not we: it is tried as long as one that is away.
            self._retry_later(job, Transient(reason, detail))
            return
        retry_at = self._clock() + timedelta(seconds=_CRASH_PAUSE_S)
        self._record_failure(job, reason, detail, retry_at, crashes_allowed=self._policy.deaths_allowed[job.kind])

    def _vouch(self, job: Job) -> None:
        """Say that we live, and have no part in the death that was counted for this job."""
        try:
            if self._studies.exonerate(job, now=self._clock()):
                log.info("death_taken_back", study=job.study_uid, kind=job.kind, attempt=job.attempt)
        except Transient:
            self._unheard.append(job)

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
        unheard, self._unheard = self._unheard, []
        for each in unheard:
            self._vouch(each)
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
        except LeaseLost:
            log.warning("failure_not_recorded", study=job.study_uid, kind=job.kind)
            self._vouch(job)
        except Transient:
            # Nothing is lost: the job is given back when the database is there again, or its lease expires.
            log.warning("failure_not_recorded", study=job.study_uid, kind=job.kind)
            self._unheard.append(job)
