"""What beats while a step runs: it keeps the lease of the job in hand, and ends a step that goes past all bounds."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from ichd.domain.errors import LeaseLost, Transient
from ichd.domain.job import DEATHS_ALLOWED, JobKind, RetryPolicy
from ichd.domain.reason import Reason
from ichd.pipeline.clock import Clock
from ichd.pipeline.vigil import Vigil
from ichd.store.queue import Job, Queue

log = structlog.get_logger(__name__)

_TICK_S = 0.2


@dataclass(frozen=True, kw_only=True)
class WorkerPolicy:
    """Rhythm and bounds of a worker, in seconds."""

    poll_s: float
    lease_s: float
    grace_s: float
    retry: RetryPolicy
    #: Of one job.
    time_limit_s: float = 900.0
    #: Readings and deliveries that kill their process, by death, time or memory, are dead after so many in a row.
    deaths_allowed: dict[JobKind, int] = field(default_factory=lambda: dict(DEATHS_ALLOWED))


class Heartbeat:
    """For the time of one step: `with Heartbeat(...): step(job)`.

    Time is counted in beats, not read off a clock: a process that was stopped for an hour (SIGSTOP, a sleeping machine)
    has not worked for an hour.
    """

    def __init__(
        self,
        job: Job,
        *,
        queue: Queue,
        policy: WorkerPolicy,
        clock: Clock,
        stop: threading.Event,
        vigil: Vigil,
        cut_short: Callable[[Job, Reason, str], None],
        given_away: Callable[[Job], None],
    ) -> None:
        """`cut_short` records why a job is ended in the middle; `given_away` hears that its lease was lost."""
        self._job = job
        self._queue = queue
        self._policy = policy
        self._clock = clock
        self._stop = stop
        self._vigil = vigil
        self._cut_short = cut_short
        self._given_away = given_away
        self._is_held = True
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> None:
        self._vigil.take(self._job)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._vigil.put_down(self._job)

    def _beat(self) -> None:
        interval_s = self._policy.lease_s / 3
        tick_s = min(interval_s, _TICK_S)
        worked_s = waited_s = stopping_s = 0.0
        while not self._done.wait(tick_s):
            self._vigil.sign(self._job.owner)
            worked_s += tick_s
            waited_s += tick_s
            stopping_s += tick_s if self._stop.is_set() else 0.0
            if stopping_s >= self._policy.grace_s:
                self._vigil.leave()
            if worked_s >= self._policy.time_limit_s:
                self._overrun()
                return
            if burst := self._vigil.burst_by(self._job):
                self._end(Reason.MEMORY_EXHAUSTED, burst)
            if waited_s >= interval_s and self._is_held:
                waited_s = 0.0
                self._extend()

    def _extend(self) -> None:
        try:
            self._job = self._queue.extend(self._job, lease_s=self._policy.lease_s, now=self._clock())
        except LeaseLost:
            # The step goes on: its completion checks the lease, so a lost one changes nothing.
            log.warning("lease_lost", study=self._job.study_uid, kind=self._job.kind)
            self._is_held = False
            self._given_away(self._job)
        except Transient as error:
            log.warning("lease_not_extended", study=self._job.study_uid, error=error.reason)

    def _overrun(self) -> None:
        detail = f"{self._policy.time_limit_s:g} s"
        if self._job.kind is JobKind.ANALYSE:
            self._end(Reason.TIME_LIMIT_EXCEEDED, detail)
        # A delivery hangs on its peer and does no harm beside that: the readings are finished first. Its thread is left
        # behind, and ends with the process.
        self._cut_short(self._job, Reason.TIME_LIMIT_EXCEEDED, detail)
        self._vigil.put_down(self._job)
        self._vigil.lose(self._job.owner)
        self._vigil.recycle("time_limit", kind=self._job.kind, study=self._job.study_uid, limit_s=detail)

    def _end(self, reason: Reason, detail: str) -> None:
        self._cut_short(self._job, reason, detail)
        self._vigil.put_down(self._job)
        self._vigil.recycle(reason, kind=self._job.kind, study=self._job.study_uid, detail=detail)
        self._vigil.leave()
