"""What the spool asks of a disk: names that survive a loss of power, and trouble in our own words."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason


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
