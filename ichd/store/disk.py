"""What the spool asks of a disk: names that survive a loss of power, and trouble in our own words."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason

#: What a file is called until it is whole.
PARTIAL = ".part"


@contextmanager
def disk_trouble() -> Iterator[None]:
    """Name trouble of the disk.

    Raises:
        Transient: DISK_LOW where it is full, else STORE_UNAVAILABLE.
    """
    try:
        yield
    except OSError as error:
        raise named(error) from error


def named(error: OSError) -> Transient:
    """The trouble of a disk in coded words."""
    reason = Reason.DISK_LOW if error.errno in {errno.ENOSPC, errno.EDQUOT} else Reason.STORE_UNAVAILABLE
    return Transient(reason, f"spool: {error.strerror}")


def make_durably(folder: Path) -> None:
    """Make a folder with all above it; a name is durable once the folder that it stands in is."""
    missing = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    for path in (folder, *missing):
        sync_folder(path.parent)


def sync_folder(folder: Path | str) -> None:
    """Make names in a folder durable; a rename alone survives a crash of ours, not a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def usage_of(folder: Path) -> os.statvfs_result:
    """What the disk of a folder says of itself; of one that does not exist yet, the disk that it would lie on.

    Raises:
        Transient: the disk does not say.
    """
    with disk_trouble():
        try:
            return os.statvfs(folder)
        except FileNotFoundError:
            return os.statvfs(next(parent for parent in folder.absolute().parents if parent.exists()))


def write_durably(target: Path, content: bytes) -> None:
    """Write a file whole, or not at all; when this returns, it survives a loss of power.

    Raises:
        Transient: the disk fails.
    """
    draft = target.with_name(f"{target.name}.{secrets.token_hex(8)}{PARTIAL}")
    with disk_trouble():
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(target.parent)


def write_once(folder: Path, name: str, word: str) -> str:
    """Write a word into a file of `folder` that says nothing yet; returns what it says then, durably.

    Whoever comes second finds the first one's word: the file appears whole, and is never written over.

    Raises:
        Transient: the disk fails.
    """
    target, draft = folder / name, folder / f"{name}.{secrets.token_hex(8)}{PARTIAL}"
    with disk_trouble():
        make_durably(folder)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(f"{word}\n".encode())
                file.flush()
                os.fsync(descriptor)
            with suppress(FileExistsError):
                os.link(draft, target)
        finally:
            draft.unlink()
        sync_folder(folder)
        return target.read_text("utf-8").strip()
