"""Writes down what a door counts, every few seconds in which something happened, beside its work."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog
from sqlalchemy import Engine

from ichd.app.clock import Clock
from ichd.domain.errors import Transient
from ichd.store.doors import CURRENT, DoorCounts, write_door
from ichd.store.statistics import Statistics

_log = structlog.get_logger(__name__)

#: More often, SQLite's one writer would be asked for it while images wait for theirs.
EVERY_S = 10.0
#: Nothing happened: it says so all the same, before others take it for shut.
_AT_LEAST_EVERY_S = CURRENT.total_seconds() / 3


@contextmanager
def metering(engine: Engine, place: str, counts: Callable[[], Mapping[str, float]], clock: Clock) -> Iterator[None]:
    """Write until the end of the context, and once more then."""
    over = threading.Event()
    statistics = Statistics(engine)

    def write() -> None:
        said: Mapping[str, float] = {}
        silent_s = _AT_LEAST_EVERY_S
        while True:
            last = over.wait(EVERY_S)
            silent_s += EVERY_S
            now_counts = counts()
            if now_counts != said or silent_s >= _AT_LEAST_EVERY_S:
                try:
                    write_door(statistics, DoorCounts(place=place, counts=now_counts), now=clock())
                    said, silent_s = now_counts, 0.0
                except Transient as error:
                    _log.warning("door_not_counted", reason=error.reason, detail=error.detail)
            if last:
                return

    thread = threading.Thread(target=write, name="metering", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
