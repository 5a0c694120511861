"""A worker process whose work ahead kills it: `python -m tests.pipeline.poisoned DATABASE SPOOL DEATHS_ALLOWED`.

Every slice is poison, as with a driver that aborts on what the study holds. Ends with 0 where it was left none to see.
"""

import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from ichd.pipeline.ahead import Ahead
from ichd.store.arriving import Arriving
from ichd.store.embeddings import Embeddings
from ichd.store.engine import open_database
from ichd.store.spool import Spool
from ichd.vision.scan import HeadScan

FINGERPRINT = "deadly" * 8


class Deadly:
    """As a reader, up to the moment at which it sees something."""

    at_once = 1

    def embed_together(self, scans: Sequence[HeadScan]) -> NoReturn:
        assert scans
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("outlived SIGKILL")


def main(database: str, folder: Path, deaths_allowed: int) -> None:
    engine, spool = open_database(database), Spool(folder)
    reader: Any = Deadly()
    ahead = Ahead(
        arriving=Arriving(engine, spool),
        reader=reader,
        embeddings=Embeddings(spool, FINGERPRINT),
        clock=lambda: datetime.now(UTC),
        deaths_allowed=deaths_allowed,
    )
    while ahead.step():
        pass


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
