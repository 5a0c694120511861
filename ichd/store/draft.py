"""A file of the spool while it is being written, and what it is once it is durable.

An image of usual size is gathered in memory and goes to its file in one piece: with several senders every system call
is a hand-over between their threads, and those cost more than the copies. A longer one goes there in pieces.
"""

import hashlib
import itertools
import mmap
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ichd.store.disk import PARTIAL, disk_trouble, sync_folder

Fragment = bytes | bytearray | memoryview

#: No other process has this part of a name.
_OURS = secrets.token_hex(7)
_COUNT = itertools.count()
#: A slow sender's file is written to so often.
_SIGN_OF_LIFE_S = 20.0


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file that is durable: its bytes and its name survive a loss of power."""

    #: Relative to the spool, with forward slashes.
    path: str
    sha256: str
    #: Bytes.
    size: int


class Buffers:
    """Memory for pieces of files, used again and again. Safe for any number of threads."""

    def __init__(self, size: int = 1 << 20) -> None:
        self._size = size
        self._free: list[bytearray] = []

    def take(self) -> bytearray:
        """One that nobody uses, with whatever it held before."""
        try:
            return self._free.pop()
        except IndexError:
            return bytearray(self._size)

    def give_back(self, buffer: bytearray) -> None:
        """Let others use it."""
        self._free.append(buffer)


class Draft:
    """One file on its way into the spool. It belongs to one thread.

    Leaving the block without `seal` removes it; nothing is left behind unless the process dies on the way, and
    `Spool.sweep` finds that.
    """

    def __init__(self, root: Path, buffers: Buffers, suffix: str = ".dcm") -> None:
        """Begin a file under a name of our own that ends with `suffix`."""
        # In the order of time: the index over a million names grows at its ends, and not on a page of its own for each.
        name = f"{time.time_ns() >> 20:012x}{_OURS}{next(_COUNT) & 0xFFFFFF:06x}"
        folder = name[-2:]
        self._path = f"{folder}/{name}{suffix}"
        # Strings: paths as objects cost as much as the system calls that they are for.
        self._folder = f"{root}/{folder}"
        self._target = f"{root}/{self._path}"
        #: Under which it lies as long as it is not sealed; one that is gathered in memory never does.
        self._name = f"{self._folder}/{name}{PARTIAL}"
        self._digest = hashlib.sha256()
        self._buffers = buffers
        self._buffer = buffers.take()
        #: Bytes of the buffer that are not in the file yet.
        self._held = 0
        #: None until there is a file.
        self._descriptor: int | None = None
        #: What `view` shows of a file.
        self._mapping: mmap.mmap | None = None
        #: Monotonic time in seconds, just before the last write: the file looks no older than this to the sweep.
        self.written_at = time.monotonic()
        self._over = False
        #: Bytes written so far.
        self.size = 0

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
        self.size += rest.nbytes
        while rest:
            room = len(self._buffer) - self._held
            piece, rest = rest[:room], rest[room:]
            # A slice of the buffer itself would copy the piece to a buffer of its own first.
            memoryview(self._buffer)[self._held : self._held + len(piece)] = piece
            self._held += len(piece)
            if self._held == len(self._buffer):
                self._flush()
        # A file that is not written to for long is taken for one that was left behind.
        if self._descriptor is not None and time.monotonic() - self.written_at > _SIGN_OF_LIFE_S:
            self._flush()

    def view(self, begin: int = 0) -> memoryview:
        """The bytes from `begin` on; of a file they are mapped and not read: what is not looked at costs no memory.

        Nothing is left to see once the draft is sealed or discarded. Release it before: a mapping has a descriptor of
        its own, which stays open for as long as anybody looks.

        Raises:
            Transient: the disk fails.
        """
        if self.size == 0 or self._over:
            return memoryview(b"")
        if self._descriptor is None:
            return memoryview(self._buffer)[begin : self._held]
        self._flush()
        self._unmap()
        with disk_trouble():
            self._mapping = mmap.mmap(self._descriptor, self.size, access=mmap.ACCESS_READ)
        return memoryview(self._mapping)[begin:]

    def seal(self) -> StoredFile:
        """Give the file its name; when this returns, it is durable.

        The name comes first and is synced last: the file's own sync then commits both in one go, and the folder's finds
        nothing left to do. What a loss of power leaves in between has a name, no row, and is set aside by the sweep.

        Raises:
            Transient: the disk fails, and the file is gone.
        """
        try:
            with disk_trouble():
                if self._descriptor is not None:
                    os.rename(self._name, self._target)  # noqa: PTH104
                self._name = self._target
                os.fsync(self._flush())
                sync_folder(self._folder)
            self._close()
        finally:
            self.discard()
        return StoredFile(path=self._path, sha256=self._digest.hexdigest(), size=self.size)

    def discard(self) -> None:
        """Remove what was written; nothing happens to a file that is sealed."""
        if self._over:
            return
        has_file = self._descriptor is not None
        self._close()
        if has_file:
            with suppress(OSError):
                os.unlink(self._name)  # noqa: PTH108

    def _flush(self) -> int:
        """Bring what is held into the file, and say which descriptor it has."""
        with disk_trouble():
            if self._descriptor is None:
                # Readable as well, for `view`.
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._descriptor = os.open(self._name, flags, 0o640)
            rest = memoryview(self._buffer)[: self._held]
            if rest:
                self.written_at = time.monotonic()
            self._digest.update(rest)
            self._held = 0
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        return self._descriptor

    def _unmap(self) -> None:
        if self._mapping is not None:
            # Where somebody still looks, it goes with the last view.
            with suppress(BufferError):
                self._mapping.close()
            self._mapping = None

    def _close(self) -> None:
        self._over = True
        self._unmap()
        self._buffers.give_back(self._buffer)
        if self._descriptor is not None:
            # What matters was synced; of the rest nobody was told anything, and the descriptor is gone in any case.
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
