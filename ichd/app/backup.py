"""`ichd backup`: database, spool and models in one folder, while the daemon runs."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from ichd import __version__
from ichd.app.backup_folder import BackupFolder, Manifest, key_of, link_or_copy, sha256_of
from ichd.app.checks import open_existing
from ichd.settings import Settings
from ichd.store.dump import dumped, kind_of
from ichd.store.engine import schema_of
from ichd.store.named_files import NamedFile, Room, is_named, named_files, owner_code, row_counts
from ichd.store.outbox import outbox_beside
from ichd.store.spool import Spool


@dataclass(kw_only=True)
class Carried:
    """The files of a backup, as they are brought."""

    known: set[str] = field(default_factory=set)
    bytes: int = 0
    #: Not there from an earlier backup.
    new: int = 0
    #: Named by a row, and not there.
    missing: list[str] = field(default_factory=list)
    #: Not the bytes that were stored.
    damaged: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What was written, and what is wrong with it."""

    manifest: Manifest
    carried: Carried
    #: Files of earlier backups that no row names any more.
    gone: int

    @property
    def is_whole(self) -> bool:
        """Nothing that a row names is missing from it."""
        return not self.carried.missing and not self.carried.damaged


def back_up(settings: Settings, to: Path, *, now: datetime) -> Backup:
    """Write a backup into a folder that is empty, or holds an earlier one, whose files are not brought again.

    First the database, then the files that it names: images that come meanwhile are not part of it, and one that
    retention takes meanwhile is missed by nobody.

    Raises:
        UserError: there is no database, the folder holds something else, or pg_dump is missing.
        Transient: the database or a disk fails; the backup before this one is still whole.
    """
    storage = open_existing(settings)
    url, bucket = settings.database.url, settings.spool.url if settings.spool.is_bucket else None
    folder = BackupFolder(to)
    try:
        with folder.taken():
            dump = folder.new_dump(kind_of(url))
            with dumped(url, dump) as seen:
                owner, rows, revision = owner_code(seen), row_counts(seen), schema_of(seen) or ""
                files = named_files(seen, in_bucket=bucket is not None)
                carried = _carry(files, folder, storage.engine, storage.spool, owed_to_bucket=bucket is not None)
            manifest = Manifest(
                made_at=now,
                ichd=__version__,
                revision=revision,
                database=kind_of(url),
                dump=dump.name,
                dump_sha256=sha256_of(dump),
                owner=owner,
                rows=rows,
                files=len(carried.known),
                bytes=carried.bytes,
                bucket=bucket,
                models=folder.bring_models(Path(settings.model.promoted)),
            )
            folder.finish(manifest)
            gone = folder.forget_others(frozenset(carried.known))
    finally:
        storage.engine.dispose()
    return Backup(manifest=manifest, carried=carried, gone=gone)


def _carry(
    files: Iterable[NamedFile], folder: BackupFolder, engine: Engine, spool: Spool, *, owed_to_bucket: bool
) -> Carried:
    """Bring what is not there yet. Of files that are owed to a bucket each machine has its own, and no other's."""
    carried = Carried()
    sources = {Room.SPOOL: spool, Room.OUTBOX: outbox_beside(spool)}
    folder.prepare()
    for file in files:
        if not folder.holds(file):
            try:
                source = sources[file.room].locate(file.stored.path)
                whole = link_or_copy(source, folder.locate(file), file.stored)
            except FileNotFoundError:
                ours = file.room is Room.OUTBOX or not owed_to_bucket
                if ours and is_named(engine, file):
                    carried.missing.append(key_of(file))
                continue
            if not whole:
                # Not kept: the next backup would take it for brought.
                folder.locate(file).unlink()
                carried.damaged.append(key_of(file))
                continue
            carried.new += 1
        carried.known.add(key_of(file))
        carried.bytes += file.stored.size
    folder.settle()
    return carried
