"""The one clock of several machines: the database's.

Leases, pauses and quiet periods compare times that were written by different machines, whose clocks differ and are set.
"""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, func, select

from ichd.domain.errors import Transient
from ichd.store.transaction import stating

#: A quartz drifts by a few milliseconds in this time.
_SAMPLE_EVERY_S = 30.0
#: The quickest answer of so many is the most exact.
_SAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """What the database's clock showed, within `error_s` either way, when ours stood at `at_s`."""

    shown: datetime
    at_s: float
    error_s: float

    def at(self, elapsed_s: float) -> datetime:
        """What it shows when ours stands at `elapsed_s`."""
        return self.shown + timedelta(seconds=elapsed_s - self.at_s)


class DatabaseClock:
    """The present moment by a PostgreSQL server, aware, in UTC; safe for any number of threads.

    Asked now and then, and carried on by a clock of this machine that nobody sets: calls cost no way to the server, and
    go on while it is away.
    """

    def __init__(self, engine: Engine) -> None:
        """Ask it for the first time.

        Raises:
            Transient: the database does not answer.
        """
        self._engine = engine
        self._sample = self._ask()
        self._asked_at_s = self._sample.at_s
        self._asking = threading.Lock()

    def __call__(self) -> datetime:
        """The present moment."""
        elapsed_s = _elapsed_s()
        if elapsed_s - self._asked_at_s > _SAMPLE_EVERY_S and self._asking.acquire(blocking=False):
            # Beside: whoever asks for the time must not wait for a server that is away.
            threading.Thread(target=self._ask_again, name="database-clock", daemon=True).start()
        return self._sample.at(elapsed_s)

    def _ask_again(self) -> None:
        try:
            sample = self._ask()
            # Inside the error of the new sample the old one may be right as well: time need not jump about.
            if abs((self._sample.at(sample.at_s) - sample.shown).total_seconds()) > sample.error_s:
                self._sample = sample
        except Transient:
            pass  # Ours goes on as it was; who needs the database says so.
        finally:
            self._asked_at_s = _elapsed_s()
            self._asking.release()

    def _ask(self) -> _Sample:
        return min((self._ask_once() for _ in range(_SAMPLES)), key=lambda sample: sample.error_s)

    def _ask_once(self) -> _Sample:
        with stating(self._engine, writes=False) as connection:
            before_s = _elapsed_s()
            shown = connection.scalar(select(func.clock_timestamp()))
            after_s = _elapsed_s()
        assert isinstance(shown, datetime)  # noqa: S101 - what the function returns
        error_s = (after_s - before_s) / 2
        return _Sample(shown=shown.astimezone(UTC), at_s=before_s + error_s, error_s=error_s)


def _elapsed_s() -> float:
    """Seconds since the machine was started, its sleep included; nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
