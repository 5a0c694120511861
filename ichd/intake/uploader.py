"""What was acknowledged once it was on this machine's disk goes to the bucket, whatever happens in between."""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import structlog

from ichd.domain.errors import Permanent, Transient
from ichd.store.bucket_spool import BucketSpool
from ichd.store.draft import StoredFile
from ichd.store.uploads import Uploads

_log = structlog.get_logger(__name__)

#: Files that are taken up together; their rows go in one transaction.
_BATCH = 64
_THREADS = 8
#: Between two looks at a table that is empty as a rule, and the longest pause after trouble.
_IDLE_S, _LONGEST_S = 0.5, 60.0
#: Between two looks where who takes an image brings it as well: what is there at both was left.
_LEFT_S = 10.0
#: What takes longer to end is left to die with the process: it can be done again.
_GRACE_S = 5.0
#: In the root of the spool; whoever holds it locked is the uploader of this machine.
_LOCK = ".uploading"


class Uploader:
    """One thread of a role; of several roles on one machine one uploads at a time, and another takes over if it dies.

    To upload a file twice changes nothing, so a death at any point costs no more than doing it again. A bucket that is
    away is asked again after a pause that doubles.
    """

    def __init__(self, spool: BucketSpool, uploads: Uploads, clock: Callable[[], datetime]) -> None:
        self._spool = spool
        self._uploads = uploads
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="uploader", daemon=True)

    def start(self) -> None:
        """Begin; what earlier processes left is taken up too."""
        self._thread.start()

    def stop(self) -> None:
        """End after the files in hand; the rest stays owed."""
        self._stop.set()
        self._thread.join(_GRACE_S)

    def round(self, *, up_to: int | None = None) -> int:
        """Bring the oldest files that this machine owes; returns how many rows are settled.

        `up_to` as in `Uploads.next`.

        Raises:
            Transient: the bucket, the disk or the database does not answer; what did arrive is settled.
        """
        files = self._uploads.next(self._spool.machine, limit=_BATCH, up_to=up_to)
        if not files:
            return 0
        with ThreadPoolExecutor(min(_THREADS, len(files)), thread_name_prefix="upload") as pool:
            outcomes = list(pool.map(self._upload, files))
        done = [file for file, trouble in zip(files, outcomes, strict=True) if trouble is None]
        if late := self._uploads.settle(done, now=self._clock()):
            for file in late:
                self._spool.discard(file.path)
            self._spool.remove_owed()
        for trouble in outcomes:
            if trouble is not None:
                raise trouble
        return len(files)

    def _upload(self, file: StoredFile) -> Transient | None:
        """None once nothing is owed any more."""
        try:
            self._spool.upload(file)
        except Transient as trouble:
            return trouble
        except Permanent as damage:
            # There is nothing left to bring. Its study ends with that reason where it is read, and a resend mends it.
            _log.error("owed_file_damaged", file=file.path, detail=damage.detail)
        return None

    def _run(self) -> None:
        at_once = self._spool.at_once
        usual_s = _LEFT_S if at_once else _IDLE_S
        pause_s, before, left = usual_s, "", 0 if at_once else None
        while not self._stop.wait(pause_s):
            try:
                with _alone(self._spool.root / _LOCK) as ours:
                    while ours and not self._stop.is_set() and self.round(up_to=left):
                        pause_s = usual_s
                if before:
                    _log.info("uploading_again")
                pause_s, before = usual_s, ""
                left = self._uploads.newest(self._spool.machine) if at_once else None
            except Transient as trouble:
                pause_s = min(2 * pause_s, _LONGEST_S)
                if trouble.detail != before:
                    _log.warning("uploading_waits", reason=trouble.reason, detail=trouble.detail)
                before = trouble.detail
            except Exception as defect:  # noqa: BLE001 - else bringing ends, while the doors go on saying yes
                pause_s, before = min(2 * pause_s, _LONGEST_S), type(defect).__name__
                _log.exception("uploading_crashed")


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether we are the only one; the lock goes with our process."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError:
        # The disk is away: the next round says so.
        yield True
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
