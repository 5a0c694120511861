"""The spool: where received images lie.

Names are our own; what a sender calls an image never reaches the file system. A file that was whole once is never
deleted on suspicion: the sweep moves it out of the way, where a person can look.
"""

import errno
import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from ichd.domain.image_file import ImageFile
from ichd.store.disk import disk_trouble, make_durably, named, sync_folder, usage_of, write_once
from ichd.store.draft import Buffers, Draft, Fragment, StoredFile
from ichd.store.sweeping import Paths, folders_of, is_path, paths_in, sweep

__all__ = ["Draft", "Fragment", "Spool", "StoredFile"]

#: In the root of the spool: the code of the database that it belongs to.
_OWNER = ".owner"


class Spool:
    """A folder of 256 folders of images. Safe for any number of threads and processes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._prepared = False
        self._buffers = Buffers()

    @property
    def root(self) -> Path:
        """The folder itself."""
        return self._root

    @property
    def owner_file(self) -> Path:
        """Where the spool says whose it is."""
        return self._root / _OWNER

    @property
    def place(self) -> str:
        """What a person calls it."""
        return str(self._root)

    @property
    def debtor(self) -> str | None:
        """Which machine owes an image to a bucket once its row is committed; None where there is no bucket."""
        return None

    def owner(self) -> str | None:
        """The code of the database that the spool belongs to; None where it has not been given one.

        Raises:
            Transient: the spool can't be read.
        """
        with disk_trouble():
            try:
                return self.owner_file.read_text("utf-8").strip()
            except FileNotFoundError:
                return None

    def adopt(self, code: str) -> str:
        """Write the code of its database into a spool that has none; returns the code that it has then, durably.

        Whoever comes second finds the first one's code: the file appears whole, and is never written over.

        Raises:
            Transient: the spool can't be written.
        """
        return write_once(self._root, _OWNER, code)

    def move_in(self, code: str) -> None:
        """Let the folder of this machine belong to the database of the whole spool: here they are the same."""

    def holds_images(self) -> bool:
        """Whether any file of an image lies here, finished or not.

        Raises:
            Transient: the spool can't be read.
        """
        with disk_trouble():
            return any(True for folder in folders_of(self._root) for _ in os.scandir(folder))

    def prepare(self) -> None:
        """Make all folders at once, so that their names are durable before any file relies on one.

        The first write does it where nobody did; from then on a folder that is missing is trouble, and not made again:
        a spool whose disk was unmounted must not fill the disk below.

        Raises:
            Transient: the spool can't be written.
        """
        with disk_trouble():
            make_durably(self._root)
            for number in range(256):
                (self._root / f"{number:02x}").mkdir(mode=0o750, exist_ok=True)
            sync_folder(self._root)
        self._prepared = True

    def settle(self) -> None:
        """Make the names of all files durable that others put here: a backup does, and a restore.

        Raises:
            Transient: the disk fails.
        """
        with disk_trouble():
            for folder in folders_of(self._root):
                sync_folder(folder)

    def draft(self, suffix: str = ".dcm") -> Draft:
        """Begin a file, a complete one in the end; `suffix` is one of `sweeping.SUFFIXES`.

        Raises:
            Transient: the spool can't be written.
        """
        if not self._prepared:
            self.prepare()
        return Draft(self._root, self._buffers, suffix)

    def write(self, parts: Sequence[Fragment], suffix: str = ".dcm") -> StoredFile:
        """Store the concatenation of `parts` durably; `suffix` is one of `sweeping.SUFFIXES`.

        Raises:
            Transient: the disk is full (DISK_LOW) or the spool can't be written (STORE_UNAVAILABLE).
        """
        with self.draft(suffix) as draft:
            for part in parts:
                draft.write(part)
            return draft.seal()

    def locate(self, path: str) -> Path:
        """Where the file of a `StoredFile.path` lies.

        Raises:
            ValueError: the path is not one of ours.
        """
        if not is_path(path):
            raise ValueError(f"{path!r} is not a path of the spool")
        return self._root / path

    def image(self, stored: StoredFile) -> ImageFile:
        """The file with what its bytes must be, for who decodes it.

        Raises:
            ValueError: as `locate`.
        """
        return ImageFile(path=self.locate(stored.path), sha256=stored.sha256)

    def holds(self, stored: StoredFile) -> bool:
        """Whether the file lies where it was stored, with its size.

        Raises:
            Transient: the disk does not say.
        """
        with disk_trouble():
            try:
                return self.locate(stored.path).stat().st_size == stored.size
            except FileNotFoundError:
                return False

    def is_intact(self, stored: StoredFile) -> bool:
        """Whether the file still has the very bytes that were stored; reads all of it.

        Raises:
            Transient: the disk does not say, for want of rights or the like; one that can't be read for damage is not
                intact.
        """
        if not self.holds(stored):
            return False
        try:
            with self.locate(stored.path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == stored.sha256
        except OSError as error:
            if error.errno in {errno.EIO, errno.ENOENT}:
                return False
            raise named(error) from error

    def require_open(self) -> None:
        """Make sure that an image could be acknowledged, before any of it is taken; here nothing more is asked for."""

    def secure(self, stored: StoredFile) -> bool:  # noqa: ARG002 - a spool with a bucket looks at it
        """Do what must be done between a row and the answer; False here: a sealed file is durable."""
        return False

    def bring(self, files: Collection[StoredFile]) -> None:
        """Make sure that files lie on this machine; here they do, or nowhere."""

    @property
    def has_bucket(self) -> bool:
        """Whether images lie elsewhere as well, so that dropping one owes its removal (`ichd.store.removal`)."""
        return False

    def remove_owed(self) -> int:
        """Remove what is owed to be removed from a bucket; returns how many objects went. Here there are none."""
        return 0

    def evict(self, stored: StoredFile) -> bool:  # noqa: ARG002 - a spool with a bucket looks at it
        """Remove a copy that can be had again from elsewhere; False: here there is no elsewhere."""
        return False

    def wants(self, stored: StoredFile) -> bool:
        """Whether the same bytes, sent again, should take the place of this file: it is gone or damaged.

        Raises:
            Transient: as `is_intact`.
        """
        return not self.is_intact(stored)

    def discard(self, path: str) -> None:
        """Remove a file that no row names; it may be gone already.

        Raises:
            Transient: the disk fails.
            ValueError: the path is not one of ours.
        """
        file = self.locate(path)
        with disk_trouble():
            file.unlink(missing_ok=True)

    def sweep(
        self,
        *,
        known: Paths,
        older_than: timedelta,
        now: datetime,
        dropped: Paths = lambda _: (),
        keep_orphans: bool = True,
    ) -> int:
        """Tidy up what a death left here (`ichd.store.sweeping`).

        Raises:
            Transient: the disk fails, or `known` or `dropped` does.
        """
        return sweep(
            self._root, known=known, older_than=older_than, now=now, dropped=dropped, keep_orphans=keep_orphans
        )

    def paths(self) -> Iterator[str]:
        """The files that lie here whole, as rows name them.

        Raises:
            Transient: the disk fails.
        """
        return paths_in(self._root)

    def free_fraction(self) -> float:
        """Share of the spool's disk that is free, 0 to 1; 1 for a file system that does not count its blocks.

        Raises:
            Transient: the disk does not say.
        """
        usage = usage_of(self._root)
        return usage.f_bavail / usage.f_blocks if usage.f_blocks else 1.0

    def disk_bytes(self) -> int:
        """Size of the spool's disk; 0 for a file system that does not count its blocks.

        Raises:
            Transient: the disk does not say.
        """
        usage = usage_of(self._root)
        return usage.f_blocks * usage.f_frsize
