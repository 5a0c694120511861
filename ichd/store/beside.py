"""Files beside the spool that can be made again from its images: each whole or absent, and made by one at a time.

Nothing here is fsynced: what is lost with the power is made anew.
"""

import os
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ichd.store.disk import PARTIAL, disk_trouble

#: Suffix of the mark that stands beside a file while somebody makes it.
BUSY = ".busy"
#: Nobody works on a file for so long: whoever did died of it, or of something else.
_ABANDONED_AFTER = timedelta(hours=1)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees a part of it; what stood there before is replaced.

    Raises:
        Transient: DISK_LOW or STORE_UNAVAILABLE.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    with disk_trouble():
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb") as file:
                file.write(content)
            draft.replace(path)
        finally:
            with suppress(OSError):
                draft.unlink()


def take_up(path: Path) -> bool:
    """Mark a file as being made; False where it is marked already.

    The mark of a process that dies stays, and holds for an hour: an image that crashes a decoder would otherwise take
    one worker after the other, with no job that counts the deaths. Of a study with many such images
    `Embeddings.being_seen` counts them.

    Raises:
        Transient: DISK_LOW or STORE_UNAVAILABLE.
    """
    mark = path.with_suffix(BUSY)
    with disk_trouble():
        mark.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640))
        except FileExistsError:
            return False
    return True


def let_go(path: Path) -> None:
    """Take our mark off again; a disk that does not let us leaves it to the sweep."""
    with suppress(OSError):
        path.with_suffix(BUSY).unlink()


def is_abandoned(file: Path, now: datetime) -> bool:
    """Whether a file is a mark or a draft of somebody who died over it."""
    return file.suffix in {BUSY, PARTIAL} and age(file, now) > _ABANDONED_AFTER


def age(file: Path, now: datetime) -> timedelta:
    """Since it was last written to; none for one that another process has just removed."""
    try:
        return now - datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except FileNotFoundError:
        return timedelta()
