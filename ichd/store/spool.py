"""The spool: where received images lie.

Names are our own; what a sender calls an image never reaches the file system.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason

_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}\.dcm")
_PARTIAL = ".part"
_LOOKUP_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file that is durable: its bytes and its name survive a loss of power."""

    #: Relative to the spool, with forward slashes.
    path: str
    sha256: str
    #: Bytes.
    size: int


class Spool:
    """A folder of 256 folders of images. Safe for any number of threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, parts: Sequence[bytes | memoryview]) -> StoredFile:
        """Store the concatenation of `parts`, a complete DICOM file (PS3.10), durably.

        Raises:
            Transient: the disk is full (DISK_LOW) or the spool can't be written (STORE_UNAVAILABLE); nothing is left
                behind unless the process dies on the way, and `sweep` finds that.
        """
        name = secrets.token_hex(16)
        folder = self._root / name[:2]
        target = folder / f"{name}.dcm"
        partial = folder / f"{name}{_PARTIAL}"
        try:
            descriptor = self._create(partial)
            try:
                sha256, size = _write_through(descriptor, parts)
                partial.rename(target)
            except OSError:
                partial.unlink(missing_ok=True)
                raise
            _sync_folder(folder)
        except OSError as error:
            reason = Reason.DISK_LOW if error.errno in {errno.ENOSPC, errno.EDQUOT} else Reason.STORE_UNAVAILABLE
            raise Transient(reason, f"spool: {error.strerror}") from error
        return StoredFile(path=f"{name[:2]}/{name}.dcm", sha256=sha256, size=size)

    def locate(self, path: str) -> Path:
        """Where the file of a `StoredFile.path` lies.

        Raises:
            ValueError: the path is not one of ours.
        """
        if not _NAME.fullmatch(path):
            raise ValueError(f"{path!r} is not a path of the spool")
        return self._root / path

    def discard(self, path: str) -> None:
        """Remove a file that no row names; it may be gone already."""
        self.locate(path).unlink(missing_ok=True)

    def sweep(self, *, known: Callable[[Sequence[str]], Collection[str]], older_than: timedelta, now: datetime) -> int:
        """Remove what a death in the middle of a write left: partial files, and files without a row.

        `known` answers which of a batch of paths have a row. Files younger than `older_than` are left alone: their row
        may be about to be committed. Files whose names are not ours are never touched. Returns the number removed.
        """
        removed = 0
        stale = self._older_than((now - older_than).timestamp())
        while batch := tuple(islice(stale, _LOOKUP_BATCH)):
            complete = [path for path in batch if path.endswith(".dcm")]
            kept = frozenset(known(complete))
            for path in batch:
                if path not in kept:
                    (self._root / path).unlink(missing_ok=True)
                    removed += 1
        return removed

    def free_fraction(self) -> float:
        """Share of the spool's disk that is free, 0 to 1.

        Raises:
            Transient: the disk does not say.
        """
        existing = next((p for p in (self._root, *self._root.absolute().parents) if p.exists()), Path("/"))
        try:
            usage = shutil.disk_usage(existing)
        except OSError as error:
            raise Transient(Reason.STORE_UNAVAILABLE, f"spool: {error.strerror}") from error
        return usage.free / usage.total

    def _create(self, partial: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            return os.open(partial, flags, 0o640)
        except FileNotFoundError:
            # The first file of its folder: the folder's own name must be as durable as the file's.
            partial.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            _sync_folder(self._root)
            _sync_folder(self._root.parent)
            return os.open(partial, flags, 0o640)

    def _older_than(self, timestamp: float) -> Iterator[str]:
        if not self._root.is_dir():
            return
        for folder in sorted(self._root.iterdir()):
            if not re.fullmatch("[0-9a-f]{2}", folder.name):
                continue
            for entry in os.scandir(folder):
                path = f"{folder.name}/{entry.name}"
                ours = _NAME.fullmatch(path.removesuffix(_PARTIAL) + ".dcm" if path.endswith(_PARTIAL) else path)
                if ours and _modified_before(entry, timestamp):
                    yield path


def _write_through(descriptor: int, parts: Sequence[bytes | memoryview]) -> tuple[str, int]:
    """Write, hash and fsync; the descriptor is closed. Returns the SHA-256 in hex and the number of bytes."""
    digest = hashlib.sha256()
    size = 0
    with open(descriptor, "wb", closefd=True) as file:
        for part in parts:
            file.write(part)
            digest.update(part)
            size += len(part) if isinstance(part, bytes) else part.nbytes
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), size


def _sync_folder(folder: Path) -> None:
    """Make names in a folder durable; a rename alone survives a crash of ours, not a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _modified_before(entry: os.DirEntry[str], timestamp: float) -> bool:
    """False for a file that another process has just renamed or removed."""
    try:
        return entry.stat().st_mtime < timestamp
    except FileNotFoundError:
        return False
