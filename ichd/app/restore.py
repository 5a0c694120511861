"""`ichd restore`: a backup becomes the database and the spool that the settings name, which must be empty."""

from dataclasses import dataclass
from pathlib import Path

from ichd.app.backup_folder import BackupFolder, Manifest, bring_folder, copy_checked, key_of, sha256_of
from ichd.domain.errors import UserError
from ichd.settings import Settings
from ichd.store.dump import bring_back, is_empty, kind_of
from ichd.store.engine import migrate, newest_schema, open_patient_database
from ichd.store.named_files import Room, named_files
from ichd.store.outbox import outbox_beside
from ichd.store.spool import Spool


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What came back, and what is wrong with it."""

    manifest: Manifest
    #: Schema that the database has now.
    revision: str
    files: int
    #: Whether promoted models came back; those that lie there already stay.
    models: bool
    #: Named by a row, and not in the backup.
    missing: list[str]
    #: Not the bytes that were received; no model reads them.
    damaged: list[str]

    @property
    def is_whole(self) -> bool:
        """Every file that a row names is there, with its bytes."""
        return not self.missing and not self.damaged


def restore(settings: Settings, source: Path) -> Restored:
    """Bring back database, spool and models.

    The spool is given the code of its database last: a daemon refuses what was restored by half.

    Raises:
        UserError: there is no backup, it is of another kind of database or of a newer ichd, or something would be
            written over.
        Transient: the database or a disk fails; empty both, and try again.
    """
    folder = BackupFolder(source)
    manifest = folder.manifest()
    url, spool = settings.database.url, Spool(settings.spool.root)
    _check(folder, manifest, settings, spool)
    bring_back(url, source / manifest.dump)
    revision = migrate(url)
    missing, damaged, files = [], [], 0
    rooms = {Room.SPOOL: spool, Room.OUTBOX: outbox_beside(spool)}
    for room in rooms.values():
        room.prepare()
    engine = open_patient_database(url)
    try:
        with engine.connect() as connection:
            for file in named_files(connection, in_bucket=manifest.bucket is not None):
                try:
                    whole = copy_checked(folder.locate(file), rooms[file.room].locate(file.stored.path), file.stored)
                except FileNotFoundError:
                    # What another machine owes to a bucket lies there, and never was in the backup.
                    if file.room is Room.OUTBOX or manifest.bucket is None:
                        missing.append(key_of(file))
                    continue
                files += 1
                if not whole:
                    damaged.append(key_of(file))
    finally:
        engine.dispose()
    for room in rooms.values():
        room.settle()
    promoted = Path(settings.model.promoted)
    models = (
        manifest.models is not None
        and not _holds_anything(promoted)
        and bring_folder(folder.root / manifest.models, promoted)
    )
    if manifest.owner is not None:
        spool.adopt(manifest.owner)
    return Restored(manifest=manifest, revision=revision, files=files, models=models, missing=missing, damaged=damaged)


def _check(folder: BackupFolder, manifest: Manifest, settings: Settings, spool: Spool) -> None:
    """Look before anything is written.

    Raises:
        UserError: it can't be restored there; names the mend.
    """
    url = settings.database.url
    if kind_of(url) != manifest.database:
        raise UserError(f"the backup is of {manifest.database}; set database.url to a database of that kind")
    if manifest.revision > (newest_schema()):
        raise UserError(
            f"the backup has schema {manifest.revision}, made by ichd {manifest.ichd}; restore it with that"
        )
    if manifest.bucket is not None and settings.spool.url != manifest.bucket:
        raise UserError(f"its images lie in the bucket {manifest.bucket}; set spool.url to that")
    if manifest.bucket is None and settings.spool.is_bucket:
        raise UserError("the backup holds images, which belong into a folder; set spool.url to one")
    dump = folder.root / manifest.dump
    if not dump.is_file() or sha256_of(dump) != manifest.dump_sha256:
        raise UserError(f"{dump} is missing or damaged; restore another backup")
    if not is_empty(url):
        raise UserError("the database is not empty; name an empty one in database.url, or drop its tables first")
    for files in (spool, outbox_beside(spool)):
        if files.owner() is not None or files.holds_images():
            raise UserError(f"{files.root} is not empty; name an empty folder in spool.url, or move that away first")


def _holds_anything(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
