"""Ends of associations on their way into the database: one that can't be written down now is written down later.

An end that got lost would leave its studies waiting for silence, minutes instead of seconds.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from ichd.domain.arrival import Door
from ichd.domain.errors import Transient
from ichd.intake.claim import Sender
from ichd.store.arrivals import Arrivals
from ichd.store.deposits import Deposit
from ichd.telemetry import Survived

_log = structlog.get_logger(__name__)

_LONGEST_WAIT_S = 60.0
#: Whoever stops us is to be gone soon as well, and a database that is away may keep us for longer.
_LAST_TRY_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an association ended."""

    association_id: int
    released: bool
    #: Images that were turned away in it.
    refused: int
    #: What it left of each study.
    deposits: Sequence[Deposit] = ()
    #: UIDs of studies of which it lost an image.
    missed: Sequence[str] = ()
    ended_at: datetime

    def write(self, arrivals: Arrivals) -> None:
        """Write it down.

        Raises:
            Transient: the database fails.
        """
        arrivals.end_association(
            self.association_id,
            released=self.released,
            refused=self.refused,
            deposits=self.deposits,
            missed=self.missed,
            now=self.ended_at,
        )


@dataclass(frozen=True, kw_only=True)
class Fruitless:
    """How an association ended that kept no image, and so has no row, but lost some."""

    door: Door
    sender: Sender
    listener: str
    opened_at: datetime
    released: bool
    refused: int
    missed: Sequence[str]
    ended_at: datetime

    def write(self, arrivals: Arrivals) -> None:
        """Write it down.

        Raises:
            Transient: the database fails.
        """
        arrivals.note_fruitless(
            door=self.door,
            calling_ae_title=self.sender.calling_ae_title,
            address=self.sender.address,
            listener=self.listener,
            opened_at=self.opened_at,
            released=self.released,
            refused=self.refused,
            missed=self.missed,
            now=self.ended_at,
        )


class Endings:
    """Safe for any number of threads; its own one lives only while something waits."""

    def __init__(self, arrivals: Arrivals, *, first_wait_s: float = 1.0, attempts: int = 30) -> None:
        self._arrivals = arrivals
        #: Doubles with each failure in a row, up to a minute.
        self._first_wait_s = first_wait_s
        #: After so many the studies of what waits are closed by silence.
        self._attempts = attempts
        self._waiting: list[Ending | Fruitless] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def record(self, ending: Ending | Fruitless) -> None:
        """Write an end down, at once or, while the database fails, from a thread that tries again."""
        if self._try(ending):
            return
        with self._lock:
            self._waiting.append(ending)
            if self._thread is None:
                self._thread = threading.Thread(target=self._retry, name="ichd-endings", daemon=True)
                self._thread.start()

    def stop(self, *, wait_s: float = _LAST_TRY_S) -> None:
        """Try what waits once more, for `wait_s` seconds at most, and then give up.

        The next listener at this place ends as interrupted what is lost then.
        """
        self._stopping.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(wait_s)

    def _retry(self) -> None:
        try:
            self._retry_all()
        finally:
            with self._lock:
                # It may have ended by now as far as others can see, and the next one begun.
                if self._thread is threading.current_thread():
                    self._thread = None

    def _retry_all(self) -> None:
        for attempt in range(self._attempts):
            stopping = self._stopping.wait(min(self._first_wait_s * 2**attempt, _LONGEST_WAIT_S))
            if self._flush():
                return
            if stopping:
                break
        with self._lock:
            lost, self._waiting, self._thread = self._waiting, [], None
        known = [ending.association_id for ending in lost if isinstance(ending, Ending)]
        _log.error("association_ends_not_recorded", associations=known, without_images=len(lost) - len(known))

    def _flush(self) -> bool:
        """Write down all that waits, oldest first; True once nothing is left and the thread may end."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return True
                ending = self._waiting[0]
            if not self._try(ending):
                return False
            with self._lock:
                self._waiting.pop(0)

    def _try(self, ending: Ending | Fruitless) -> bool:
        """Whether nothing is left to do for this one."""
        # One that can never be written must not keep the others waiting.
        with Survived("association_end_dropped", with_images=isinstance(ending, Ending)):
            try:
                ending.write(self._arrivals)
            except Transient as error:
                _log.warning("association_end_postponed", reason=str(error.reason), detail=error.detail)
                return False
        return True
