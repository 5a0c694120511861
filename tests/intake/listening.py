"""A listener in a process of its own, to be measured, and to be killed at the worst moment.

Run by tests: `python -m tests.intake.listening FOLDER [--die-after-write N | --die-after-commit N]`; prints its port.
"""

import argparse
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from ichd.domain.retention import Watermarks
from ichd.intake.announced import INSTANCE_AVAILABILITY, AnnouncedStudies
from ichd.intake.counter import Counter
from ichd.intake.dimse.listener import Listener, ListenerConfig
from ichd.store.announcements import Announcements
from ichd.store.arrivals import ArrivalKind, Arrivals
from ichd.store.draft import Buffers, Draft, StoredFile
from ichd.store.engine import migrate, open_database
from ichd.store.spool import Spool
from ichd.telemetry import configure_logging
from tests.intake.processes import serving


class DyingDraft(Draft):
    """Dies by SIGKILL once it is durable, if it is the last of a count, and before its row is."""

    def __init__(self, root: Path, left: Iterator[int]) -> None:
        super().__init__(root, Buffers())
        self._left = left

    def seal(self) -> StoredFile:
        stored = super().seal()
        if next(self._left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return stored


class DyingSpool(Spool):
    """Dies with file number `last`."""

    def __init__(self, root: Path, last: int) -> None:
        super().__init__(root)
        self._left = count(last - 1, -1)

    def draft(self, suffix: str = ".dcm") -> Draft:
        return DyingDraft(self.root, self._left)


class DyingArrivals(Arrivals):
    """Dies by SIGKILL once row number `last` is committed and before the sender is told."""

    def __init__(self, engine: Any, last: int) -> None:
        super().__init__(engine)
        self._left = count(last - 1, -1)

    def record(self, *args: Any, **kwargs: Any) -> ArrivalKind:
        kind = super().record(*args, **kwargs)
        if next(self._left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return kind


def listening(folder: Path, *arguments: str) -> AbstractContextManager[tuple[subprocess.Popen[str], int]]:
    """A child process that listens, and its port; gone when the block ends."""
    return serving("tests.intake.listening", str(folder), *arguments)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die-after-write", type=int, default=0)
    parser.add_argument("--die-after-commit", type=int, default=0)
    parser.add_argument("--max-instance-bytes", type=int, default=64 << 20)
    parser.add_argument("--max-associations-per-address", type=int, default=16)
    options = parser.parse_args()
    configure_logging("error", "json")
    url = f"sqlite:///{options.folder / 'ichd.db'}"
    migrate(url)
    engine = open_database(url)
    arrivals = DyingArrivals(engine, options.die_after_commit)
    spool = DyingSpool(options.folder / "spool", options.die_after_write)
    counter = Counter(
        arrivals, spool, watermarks=Watermarks(high=1, low=1), max_instance_bytes=options.max_instance_bytes
    )
    config = ListenerConfig(port=0, max_associations_per_address=options.max_associations_per_address)
    services = {INSTANCE_AVAILABILITY: AnnouncedStudies(Announcements(engine)).available}
    listener = Listener(config, counter, arrivals, lambda: datetime.now(UTC), services=services)
    listener.start()
    print(listener.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
