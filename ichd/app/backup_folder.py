"""The folder of a backup: a dump of the database, the files that its rows name, the promoted models, a manifest.

The manifest is written last. Whatever lies in a folder without one, or beside what it names, counts for nothing: an
attempt that died leaves the backup before it as good as it was.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from ichd.domain.errors import UserError
from ichd.store.disk import disk_trouble, make_durably, sync_folder
from ichd.store.named_files import NamedFile, Room
from ichd.store.spool import Spool, StoredFile

MANIFEST_NAME = "manifest.json"
_LOCK_NAME = ".lock"
#: What belongs to one backup alone, and is not shared with the one before it.
_OWN = re.compile(r"database-[0-9a-f]{16}\.(sqlite|postgresql)|models-[0-9a-f]{16}")
_CHUNK = 1 << 20


class Manifest(BaseModel):
    """`manifest.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Literal["ichd backup 1"] = "ichd backup 1"
    made_at: AwareDatetime
    #: Version of ichd that made it, and the schema of its database.
    ichd: str
    revision: str
    database: Literal["sqlite", "postgresql"]
    dump: str
    dump_sha256: str
    #: Code that database and spool share; None of a database that never had a spool.
    owner: str | None
    #: Rows by table.
    rows: dict[str, int]
    files: int
    bytes: int
    #: The bucket that holds the images, which this backup does not; None where they are here.
    bucket: str | None
    #: The folder with the promoted models; None where there were none.
    models: str | None


class BackupFolder:
    """Where a backup lies, or is to lie."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._rooms = {room: Spool(root / room) for room in Room}

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Make the folder, and keep every other backup out of it.

        Raises:
            UserError: another backup is being written there, or something that is no backup lies there.
        """
        if self.root.exists() and not (self.root / _LOCK_NAME).exists() and any(self.root.iterdir()):
            raise UserError(f"{self.root} holds something that is no backup; name an empty folder")
        with disk_trouble():
            make_durably(self.root)
            lock = os.open(self.root / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"another backup is being written to {self.root}; wait for its end") from error
            yield
        finally:
            os.close(lock)

    def manifest(self) -> Manifest:
        """What was written last, and so is whole.

        Raises:
            UserError: there is none, or it is not one of ours.
        """
        try:
            content = (self.root / MANIFEST_NAME).read_bytes()
        except FileNotFoundError as error:
            raise UserError(
                f"{self.root} has no {MANIFEST_NAME}, and so holds no backup that was finished; name another folder"
            ) from error
        try:
            return Manifest.model_validate_json(content)
        except ValidationError as error:
            raise UserError(f"{self.root / MANIFEST_NAME} is damaged, or of a newer ichd; use that one") from error

    def finish(self, manifest: Manifest) -> None:
        """From now on the backup is this one; what only the one before it needed goes."""
        draft = self.root / f"{MANIFEST_NAME}.part"
        with disk_trouble():
            with draft.open("w", encoding="utf-8") as file:
                json.dump(manifest.model_dump(mode="json"), file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.root / MANIFEST_NAME)
            sync_folder(self.root)
            for path in self.root.iterdir():
                if not _OWN.fullmatch(path.name) or path.name in {manifest.dump, manifest.models}:
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def new_dump(self, database: str) -> Path:
        """Where a dump may be written; no earlier one has that name."""
        return self.root / f"database-{secrets.token_hex(8)}.{database}"

    def bring_models(self, promoted: Path) -> str | None:
        """Bring the promoted models into a folder that no earlier backup has; its name, None where there are none."""
        target = self.root / f"models-{secrets.token_hex(8)}"
        return target.name if bring_folder(promoted, target) else None

    def holds(self, file: NamedFile) -> bool:
        """Whether an earlier backup brought the file; files never change, so that its size is enough to know."""
        return self._rooms[file.room].holds(file.stored)

    def locate(self, file: NamedFile) -> Path:
        """Where the file lies, or is to lie."""
        return self._rooms[file.room].locate(file.stored.path)

    def prepare(self) -> None:
        """Make the folders of both rooms."""
        for room in self._rooms.values():
            room.prepare()

    def settle(self) -> None:
        """Make the names of files durable that were brought since `prepare`."""
        for room in self._rooms.values():
            room.settle()

    def forget_others(self, known: frozenset[str]) -> int:
        """Remove files that are not in `known` (`key_of`): dropped images must not stay here. Returns how many."""
        gone = 0
        with disk_trouble():
            for room in Room:
                for file in (self.root / room).glob("[0-9a-f][0-9a-f]/*"):
                    if f"{room}/{file.parent.name}/{file.name}" not in known:
                        file.unlink()
                        gone += 1
        return gone


def key_of(file: NamedFile) -> str:
    """Its name within a backup."""
    return f"{file.room}/{file.stored.path}"


def copy_checked(source: Path, target: Path, stored: StoredFile) -> bool:
    """Copy a file durably; whether its bytes are those that were stored. Whoever is killed leaves no half of it.

    Raises:
        FileNotFoundError: there is none.
        Transient: the disk fails.
    """
    digest = hashlib.sha256()
    draft = target.with_name(f"{target.name}.part")
    with source.open("rb") as reading, disk_trouble():
        with draft.open("wb") as writing:
            while chunk := reading.read(_CHUNK):
                digest.update(chunk)
                writing.write(chunk)
            writing.flush()
            os.fsync(writing.fileno())
        draft.replace(target)
    return digest.hexdigest() == stored.sha256


def link_or_copy(source: Path, target: Path, stored: StoredFile) -> bool:
    """A second name of the file where the file system allows that, else a copy; False for one that is damaged.

    Either way each byte is read: a backup that says that it is whole has seen that it is.

    Raises:
        FileNotFoundError: there is none.
        Transient: the disk fails.
    """
    if source.stat().st_size == stored.size:
        with suppress(OSError):
            target.unlink(missing_ok=True)
            target.hardlink_to(source)
            return sha256_of(target) == stored.sha256
    return copy_checked(source, target, stored)


def sha256_of(file: Path) -> str:
    """Digest of a file's content, as hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def bring_folder(source: Path, target: Path) -> bool:
    """Let a small folder be as another one; whether there was anything in that.

    Raises:
        Transient: the disk fails.
    """
    with disk_trouble():
        shutil.rmtree(target, ignore_errors=True)
        if not source.is_dir() or not any(source.iterdir()):
            return False
        shutil.copytree(source, target)
        for path in (target, *target.rglob("*")):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    return True
