"""One process's watch over its lanes: what each has in hand, whether they get on, and how the process ends.

A worker is a lane for readings and one for each destination, in one process. A step can't be interrupted from outside;
its process can be ended, and then all that the others have in hand is given back first, so that no lease of theirs
has to run out and count as a death.
"""

import os
import threading
import time
from pathlib import Path
from typing import NoReturn

import structlog

from ichd.domain.ending import Ending
from ichd.domain.errors import LeaseLost, Transient
from ichd.domain.job import JobKind
from ichd.pipeline.clock import Clock
from ichd.store.queue import Job, Queue

log = structlog.get_logger(__name__)

#: A job may take so much more than the ceiling between jobs before it is ended for it.
_BURST = 1.5
#: For so long a lane may show no sign of life: a statement whose answer is given up after 20 s, a new connection after
#: 10 s, and a loaded machine.
_SILENT_S = 60.0
_STATM = Path("/proc/self/statm")


class Vigil:
    """Shared by the lanes of a process; every method may be called by any thread."""

    def __init__(self, queue: Queue, clock: Clock, *, memory_mb: int | None = None) -> None:
        """`memory_mb` is the resident memory, MiB, from which the process is replaced; None for no such ceiling."""
        self._queue = queue
        self._clock = clock
        self._memory_mb = memory_mb
        #: By the owner of the lane.
        self._in_hand: dict[str, Job] = {}
        self._signs: dict[str, float] = {}
        self._lost: set[str] = set()
        self._lock = threading.Lock()
        #: No lane claims another job: this process is to be replaced.
        self.recycling = False
        #: Somebody asked it to stop, so that nobody is to replace it.
        self.dismissed = False

    @property
    def exit_code(self) -> Ending:
        """With which the process ends."""
        return Ending.RECYCLED if self.recycling and not self.dismissed else Ending.DONE

    def sign(self, owner: str) -> None:
        """A lane gets on: its loop turned, or the heartbeat of what it has in hand did."""
        self._signs[owner] = time.monotonic()

    def take(self, job: Job) -> None:
        """A lane has a job in hand."""
        with self._lock:
            self._in_hand[job.owner] = job

    def put_down(self, job: Job) -> None:
        """What becomes of it is recorded, or left to its lease."""
        with self._lock:
            self._in_hand.pop(job.owner, None)

    def lose(self, owner: str) -> None:
        """A lane hangs in a step that nobody waits for any more."""
        self._lost.add(owner)

    def is_lost(self, owner: str) -> bool:
        """Whether a lane will not come back."""
        return owner in self._lost

    def is_well(self) -> bool:
        """Whether every lane showed a sign of life of late; a long job does, through its heartbeat."""
        silent_since = time.monotonic() - _SILENT_S
        signs = dict(self._signs)
        return all(at > silent_since for owner, at in signs.items() if owner not in self._lost)

    def weigh(self) -> None:
        """Between two jobs: have the process replaced where it has grown over its ceiling."""
        resident = resident_mb()
        if self._memory_mb is not None and resident is not None and resident > self._memory_mb:
            self.recycle("memory", resident_mb=round(resident), ceiling_mb=self._memory_mb)

    def burst_by(self, job: Job) -> str | None:
        """In the middle of one: how far the process is over all measure, where this job is to blame; else None.

        Of several in hand a reading is: it holds scans and a model's tensors, a delivery some reports.
        """
        if self._memory_mb is None:
            return None
        resident = resident_mb()
        if resident is None or resident <= _BURST * self._memory_mb:
            return None
        with self._lock:
            reads = any(each.kind is JobKind.ANALYSE for each in self._in_hand.values())
        if reads and job.kind is not JobKind.ANALYSE:
            return None
        return f"{resident:.0f} MiB resident, {_BURST:g} times {self._memory_mb} MiB allowed"

    def recycle(self, cause: str, **figures: object) -> None:
        """Claim nothing more, and end to be replaced once the lanes have put down what they have in hand."""
        with self._lock:
            already, self.recycling = self.recycling, True
        if not already:
            log.warning("worker_recycled", cause=cause, exit_code=int(Ending.RECYCLED), **figures)

    def leave(self) -> NoReturn:
        """End the process at once, and give back what its lanes still have in hand: nothing of it was committed."""
        with self._lock:
            unfinished = list(self._in_hand.values())
        for job in unfinished:
            log.warning("job_released_unfinished", study=job.study_uid, kind=job.kind)
            try:
                self._queue.release(job, now=self._clock())
            except (LeaseLost, Transient):
                log.warning("lease_not_released", study=job.study_uid)
        os._exit(self.exit_code)


def resident_mb() -> float | None:
    """Resident memory of this process, MiB; None on systems that don't say (proc(5), statm)."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
