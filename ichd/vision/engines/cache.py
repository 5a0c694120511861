"""Networks that were converted once, on disk, so that the next start need not do it again.

An entry is a folder that appears at once, by a rename, and carries the digest of its files: half of one, or one that a
disk has damaged, is as good as none. Nothing here is a failure: without a cache the work is done again.
"""

import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog

log = structlog.get_logger(__name__)

_DIGEST_NAME = "sha256"
_UNFINISHED = "unfinished-"
#: What this process has begun; not by its number, which is that of another one's in the next container.
_OURS = f"{_UNFINISHED}{secrets.token_hex(4)}-"
#: Since its last start from it; an int8 entry was somebody's work, and a worker may run for months.
_UNUSED_S = 90 * 86400.0
#: No conversion takes this long.
_UNFINISHED_S = 86400.0
#: Nor waits anybody longer for one that hangs.
_TURN_WAIT_S = 600.0
_TURN_LOOK_S = 0.1


class EngineCache:
    """Entries by key, in one folder that several processes may share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: By key, which entry was there when it was last looked for.
        self._met: dict[str, int | None] = {}

    def find(self, key: str) -> Path | None:
        """The folder of a whole entry, or None: it was never made, or is damaged."""
        entry = self.folder / key
        self._met[key] = _inode(entry)
        try:
            expected = (entry / _DIGEST_NAME).read_text(encoding="ascii")
            whole = _digest(entry) == expected
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            log.warning("engine_cache_unreadable", entry=str(entry), error=str(error))
            return None
        if not whole:
            log.warning("engine_cache_damaged", entry=str(entry), mend="none needed, it is made again")
            return None
        # Used today: what nobody uses is swept. A folder that can only be read is swept by nobody.
        with suppress(OSError):
            os.utime(entry)
        return entry

    @staticmethod
    def digest(entry: Path) -> str:
        """Of an entry that was found: it differs wherever any of its files does."""
        return (entry / _DIGEST_NAME).read_text(encoding="ascii")

    @contextmanager
    def turn(self, key: str) -> Iterator[Path | None]:
        """Within the block no other process of this machine makes an entry; gives what one has made meanwhile.

        For who has not found it. Of several that start on an empty cache one works, and the others have memory and
        cores to spare for it. Where the folder can't be locked, or nobody lets go of it for long, all do.
        """
        with ExitStack() as turn:
            with suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                # The folder itself: it needs no file beside the entries, and lets go of whoever dies.
                folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
                turn.callback(os.close, folder)
                _wait_for(folder)
            news = _inode(self.folder / key) != self._met.get(key)
            yield self.find(key) if news else None

    def keep(self, key: str, write: Callable[[Path], None], *, replace: bool = False) -> Path | None:
        """The entry that `write` fills when it is given an empty folder; None where nothing can be kept.

        It takes the place of a damaged one. Of two processes that make the same one, the second uses the first's,
        unless it is to `replace` it. What nobody has used for long is swept on the way.
        """
        entry = self.folder / key
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=self.folder, prefix=_OURS, ignore_cleanup_errors=True) as scratch:
                made = Path(scratch, "entry")
                made.mkdir()
                write(made)
                (made / _DIGEST_NAME).write_text(_digest(made), encoding="ascii")
                if replace or self.find(key) is None:
                    # By names, which change at once: what another process puts there meanwhile is whole, and stays.
                    with suppress(FileNotFoundError):
                        entry.rename(Path(scratch, "replaced"))
                    made.rename(entry)
            self._sweep()
        except (OSError, RuntimeError) as error:  # OpenVINO's writer says RuntimeError when the disk is full
            log.warning(
                "engine_cache_not_written",
                folder=str(self.folder),
                error=str(error),
                mend="set model.cache to a folder that can be written; until then every start converts the model",
            )
        return self.find(key)

    def _sweep(self) -> None:
        """Remove what an older version or another model left behind, and what a process that died began."""
        now = time.time()
        for path in self.folder.iterdir():
            limit_s = _UNFINISHED_S if path.name.startswith(_UNFINISHED) else _UNUSED_S
            with suppress(FileNotFoundError):
                if now - path.stat().st_mtime > limit_s:
                    log.info("engine_cache_swept", entry=str(path))
                    shutil.rmtree(path, ignore_errors=True)


def discard_unfinished(folder: Path) -> None:
    """Remove what this process has begun there; for who ends it in the middle of that."""
    for path in folder.glob(f"{_OURS}*"):
        # What is being written to meanwhile may get a file more, and then is not empty at its removal.
        for _ in range(3):
            shutil.rmtree(path, ignore_errors=True)


def _wait_for(folder: int) -> None:
    """Lock it, for the time that one is patient; not by a lock that waits, which would have no end."""
    ends_at = time.monotonic() + _TURN_WAIT_S
    while time.monotonic() < ends_at:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_TURN_LOOK_S)
        else:
            return
    log.warning("engine_cache_not_waited_for", waited_s=_TURN_WAIT_S)


def _inode(entry: Path) -> int | None:
    try:
        return entry.stat().st_ino
    except OSError:
        return None


def _digest(entry: Path) -> str:
    """Over names and contents of all files but the digest itself."""
    whole = hashlib.sha256()
    for path in sorted(entry.iterdir()):
        if path.name != _DIGEST_NAME:
            with path.open("rb") as file:
                whole.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()
