"""What lies in a spool's folders, and what a death in the middle of an arrival left there."""

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from ichd.store.disk import PARTIAL, disk_trouble

#: Images and objects; messages of the outbox.
SUFFIXES = (".dcm", ".hl7", ".json")
_PATH = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}\.(dcm|hl7|json)")
_FOLDER = re.compile("[0-9a-f]{2}")
_BATCH = 500

#: Answers which of a batch of paths are what is asked for.
Paths = Callable[[Sequence[str]], Collection[str]]


def is_path(text: str) -> bool:
    """Whether it is a path of ours, relative to the root."""
    return _PATH.fullmatch(text) is not None


def folders_of(root: Path) -> list[Path]:
    """Those in which files lie, in their order."""
    if not root.is_dir():
        return []
    return sorted(folder for folder in root.iterdir() if _FOLDER.fullmatch(folder.name))


def paths_in(root: Path) -> Iterator[str]:
    """The files that lie there whole.

    Raises:
        Transient: the disk fails.
    """
    for folder in folders_of(root):
        with disk_trouble():
            names = [entry.name for entry in os.scandir(folder)]
        yield from (path for name in names if is_path(path := f"{folder.name}/{name}"))


def sweep(root: Path, *, known: Paths, older_than: timedelta, now: datetime, dropped: Paths, keep_orphans: bool) -> int:
    """Remove partial files, and files without a row; returns how many are gone.

    Partial files are deleted: no sender was told that they are safe. Files without a row are moved to a folder beside
    the spool, `<spool>.orphans`: a database restored from a backup has forgotten images that were acknowledged. One
    whose writer was killed while it sealed need not be whole. `known` answers which paths have a row. Files younger
    than `older_than` are left alone: their row may be about to be committed. Files whose names are not ours are never
    touched. Without `keep_orphans` those without a row are deleted: they can be made again. `dropped` answers which
    paths retention has given up: a death kept it from deleting them.

    Raises:
        Transient: the disk fails, or `known` or `dropped` does.
    """
    swept = 0
    stale = _older_than(root, (now - older_than).timestamp())
    while batch := tuple(islice(stale, _BATCH)):
        complete = [path for path in batch if not path.endswith(PARTIAL)]
        given_up = frozenset(dropped(complete))
        kept = frozenset(known(complete)) - given_up
        aside: list[str] = []
        for path in batch:
            if path in kept:
                continue
            with disk_trouble(), suppress(FileNotFoundError):  # another process sweeps as well
                if path.endswith(PARTIAL) or path in given_up or not keep_orphans:
                    (root / path).unlink()
                else:
                    shutil.move(root / path, _orphan(root, path))
                    aside.append(path)
                swept += 1
        # A clock that was set ahead makes every file look old, one whose row is just being committed too. Whoever
        # commits it looks for the file afterwards, and we look for the row: one of us sees the other.
        for path in known(aside) if aside else ():
            with disk_trouble():
                shutil.move(_orphan(root, path), root / path)
            swept -= 1
    return swept


def orphans_of(root: Path) -> Path:
    """The folder where files without a row are kept: beside the spool, or in it where it is a mount of its own.

    What lies beside a mount is another disk, perhaps one that nobody may write to. The name is none of ours: the sweep
    passes it by.
    """
    root = root.absolute()
    orphans = root / ".orphans" if root.is_mount() else root.with_name(f"{root.name}.orphans")
    orphans.mkdir(mode=0o750, exist_ok=True)
    return orphans


def _orphan(root: Path, path: str) -> Path:
    return orphans_of(root) / Path(path).name


def _older_than(root: Path, timestamp: float) -> Iterator[str]:
    """Files and partial files of ours."""
    for folder in folders_of(root):
        with disk_trouble():
            entries = list(os.scandir(folder))
        for entry in entries:
            path = f"{folder.name}/{entry.name}"
            whole = path.removesuffix(PARTIAL) + SUFFIXES[0] if path.endswith(PARTIAL) else path
            if is_path(whole) and _modified_before(entry, timestamp):
                yield path


def _modified_before(entry: os.DirEntry[str], timestamp: float) -> bool:
    """False for a file that another process has just renamed or removed."""
    try:
        return entry.stat().st_mtime < timestamp
    except FileNotFoundError:
        return False
