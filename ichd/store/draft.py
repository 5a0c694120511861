"""A file of the spool while it is being written, and what it is once it is durable."""

import hashlib
import mmap
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ichd.store.disk import disk_trouble, sync_folder

Fragment = bytes | bytearray | memoryview

#: What a file is called until it is whole.
PARTIAL = ".part"


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file that is durable: its bytes and its name survive a loss of power."""

    #: Relative to the spool, with forward slashes.
    path: str
    sha256: str
    #: Bytes.
    size: int


class Draft:
    """One file on its way into the spool, hashed as it grows. It belongs to one thread.

    Leaving the block without `seal` removes it; nothing is left behind unless the process dies on the way, and
    `Spool.sweep` finds that.
    """

    def __init__(self, root: Path) -> None:
        """Begin a file under a name of our own.

        Raises:
            Transient: the spool can't be written.
        """
        # In the order of time: the index over a million names grows at its ends, and not on a page of its own for each.
        name = f"{time.time_ns() >> 20:012x}{secrets.token_hex(10)}"
        folder = name[-2:]
        self._path = f"{folder}/{name}.dcm"
        self._folder = root / folder
        self._target = self._folder / f"{name}.dcm"
        self._partial = self._folder / f"{name}{PARTIAL}"
        self._digest = hashlib.sha256()
        #: Bytes written so far.
        self.size = 0
        with disk_trouble():
            # Readable as well, for `view`.
            self._descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.discard()

    def write(self, fragment: Fragment) -> None:
        """Append a fragment.

        Raises:
            Transient: the disk is full (DISK_LOW) or fails (STORE_UNAVAILABLE); the draft is of no use any more.
        """
        rest = memoryview(fragment).cast("B")
        self._digest.update(rest)
        self.size += rest.nbytes
        with disk_trouble():
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def view(self, begin: int = 0) -> memoryview:
        """The bytes from `begin` on, mapped and not read: what is not looked at costs no memory.

        Nothing is left to see once the draft is sealed or discarded.

        Raises:
            Transient: the disk fails.
        """
        if self.size == 0 or self._descriptor < 0:
            return memoryview(b"")
        with disk_trouble():
            return memoryview(mmap.mmap(self._descriptor, self.size, access=mmap.ACCESS_READ))[begin:]

    def seal(self) -> StoredFile:
        """Give the file its name; when this returns, it is durable.

        Raises:
            Transient: the disk fails, and the file is gone.
        """
        try:
            with disk_trouble():
                os.fsync(self._descriptor)
                self._partial.rename(self._target)
                self._close()
                sync_folder(self._folder)
        finally:
            self.discard()
        return StoredFile(path=self._path, sha256=self._digest.hexdigest(), size=self.size)

    def discard(self) -> None:
        """Remove what was written; nothing happens to a file that has its name."""
        if self._descriptor < 0:
            return
        self._close()
        with suppress(OSError):
            self._partial.unlink()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)
