"""How one model follows another while work goes on: made ready beside it, and swapped in between two studies."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

import structlog

from ichd.domain.errors import IchdError
from ichd.pipeline.clock import Clock
from ichd.telemetry import Survived

log = structlog.get_logger(__name__)

M = TypeVar("M")

#: A successor that could not be made is tried again: its files may be mended without a new sign.
_AGAIN_AFTER = timedelta(minutes=1)
#: A role that stops does not wait longer for a conversion that nobody needs any more.
_LEAVE_AFTER_S = 2.0


class Succession(Generic[M]):
    """The present model, until its successor stands ready.

    `look` is for the one thread that begins studies. Whoever begins one keeps what it was given to the end; so no study
    is read by two. The thread that makes the successor ready costs nothing but time on the processor.
    """

    def __init__(
        self,
        present: M,
        *,
        sign: Callable[[], object],
        successor: Callable[[M], M | None],
        take_over: Callable[[M], None],
        failed: Callable[[str], None],
        clock: Clock,
        seen: object = None,
    ) -> None:
        """`sign` is cheap, and differs once another model may be wanted; `seen` is the one that `present` was made by.

        `successor` makes the model that is wanted, or None where that is the present one; it runs in a thread, takes as
        long as it takes, and raises IchdError where it can't. `failed` is then told why. `take_over` is told of a model
        that is now the present one.
        """
        self._present = present
        self._sign = sign
        self._successor = successor
        self._take_over = take_over
        self._failed = failed
        self._clock = clock
        self._seen = seen
        self._making: _Making[M] | None = None
        self._again_at: datetime | None = None
        self._said: str | None = None

    @property
    def present(self) -> M:
        """Who reads now; to be asked by those who begin nothing."""
        return self._present

    def look(self) -> M:
        """Who is to read the study that begins now."""
        if self._making is not None and self._making.is_done:
            self._finish(self._making)
            self._making = None
        if self._making is None and self._is_wanted():
            self._making = _Making(self._successor, self._present)
        return self._present

    def close(self) -> None:
        """Leave a successor in the making alone."""
        if self._making is not None:
            self._making.thread.join(_LEAVE_AFTER_S)

    def _is_wanted(self) -> bool:
        sign = self._sign()
        is_due = self._again_at is not None and self._clock() >= self._again_at
        if sign == self._seen and not is_due:
            return False
        self._seen, self._again_at = sign, None
        return True

    def _finish(self, made: "_Making[M]") -> None:
        if made.problem is not None:
            self._again_at = self._clock() + _AGAIN_AFTER
            # Said once: it is tried again every minute, perhaps for a weekend.
            if made.problem != self._said:
                log.error("successor_not_ready", why=made.problem, instead="the model before it reads on")
            self._said = made.problem
            self._failed(made.problem)
            return
        self._said = None
        if made.model is not None:
            self._present = made.model
            self._take_over(made.model)


class _Making(Generic[M]):
    """One attempt to make a successor, in a thread of its own."""

    def __init__(self, successor: Callable[[M], M | None], present: M) -> None:
        self.model: M | None = None
        self.problem: str | None = None
        self._successor = successor
        self._present = present
        # A daemon: a conversion can't be interrupted, and must not hold up the end of the process.
        self.thread = threading.Thread(target=self._run, name="successor", daemon=True)
        self.thread.start()

    @property
    def is_done(self) -> bool:
        return not self.thread.is_alive()

    def _run(self) -> None:
        # What an engine does when it runs out of memory has no name to be caught by; the present model is unharmed.
        with Survived("successor_broke") as survived:
            try:
                self.model = self._successor(self._present)
            except IchdError as error:
                self.problem = str(error)
        if survived.defect is not None:
            self.problem = f"{survived.defect} while it was loaded"
