"""A bucket and the rows, held against one another: what is there that nobody knows, and what is not there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, Select, exists, select, text, union_all

from ichd.store.bucket import Bucket
from ichd.store.draft import StoredFile
from ichd.store.removal import owe_removal
from ichd.store.tables import ConflictRow, InstanceRow, SeriesRow, StudyRow, UploadRow
from ichd.store.transaction import reading, writing

#: Checksums bound in one statement. No index has them: each statement walks through all images.
_BATCH = 500
#: Rows that are held at a time; there may be millions.
_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class Missing:
    """An image that the bucket was given, and does not have, or not with its size."""

    stored: StoredFile
    study_uid: str


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What was found."""

    objects: int
    #: Objects that no row names: of a database that was restored, of a sender that was never answered.
    forgotten: tuple[StoredFile, ...]
    #: Objects of images that were dropped: the bucket was away, or somebody died, when they were to be removed.
    dropped: tuple[StoredFile, ...]
    missing: tuple[Missing, ...]


def take_inventory(engine: Engine, bucket: Bucket) -> Inventory:
    """Compare; nothing is changed. Arrivals, uploads and retention may go on meanwhile.

    An object comes after its row, and goes after the row says so. So an image is missing where it was settled before
    the bucket was listed and still is, and an object is a stray where no row names it after that. Takes 100 MB for a
    million images.

    Raises:
        Transient: the database or the bucket does not answer.
    """
    settled = {bytes.fromhex(image.stored.sha256) for image in _settled(engine)}
    listed = {bytes.fromhex(sha256): size for sha256, size in bucket.objects()}
    missing = tuple(
        image
        for image in _settled(engine)
        if (sha256 := bytes.fromhex(image.stored.sha256)) in settled and listed.get(sha256) != image.stored.size
    )
    unnamed = sorted(listed.keys() - _named(engine))
    dropped = _dropped(engine, unnamed)
    strays = [StoredFile(path=f"{key.hex()}.dcm", sha256=key.hex(), size=listed[key]) for key in unnamed]
    return Inventory(
        objects=len(listed),
        forgotten=tuple(stray for stray in strays if stray.sha256 not in dropped),
        dropped=tuple(stray for stray in strays if stray.sha256 in dropped),
        missing=missing,
    )


def owe_removal_of_unnamed(engine: Engine, objects: Sequence[StoredFile], *, now: datetime) -> int:
    """Those of some objects that still have no row are to be removed; returns how many that are.

    No row is written while we look, for some milliseconds; whoever writes one afterwards finds the removal owed, and
    brings its object after that.

    Raises:
        Transient: the database fails.
    """
    owed = 0
    for start in range(0, len(objects), _BATCH):
        batch = objects[start : start + _BATCH]
        with writing(engine) as session:
            connection = session.connection()
            if connection.dialect.name == "postgresql":
                # SQLite has one writer anyway. In the order in which everybody else comes to the two.
                connection.execute(text("LOCK TABLE instance, conflict IN SHARE MODE"))
            named = _among(connection, [each.sha256 for each in batch], dropped=False)
            unnamed = [each for each in batch if each.sha256 not in named]
            owe_removal(session, unnamed, now)
            owed += len(unnamed)
    return owed


def _settled(engine: Engine) -> Iterator[Missing]:
    """Images that are here, and that nobody owes to the bucket."""
    images = select(InstanceRow.path, InstanceRow.sha256, InstanceRow.size, StudyRow.study_instance_uid)
    conflicts = select(ConflictRow.path, ConflictRow.sha256, ConflictRow.size, StudyRow.study_instance_uid)
    statements: tuple[Select[str, str, int, str], ...] = (
        images.join(SeriesRow, InstanceRow.series_id == SeriesRow.id)
        .join(StudyRow)
        .where(InstanceRow.dropped_at.is_(None), ~exists().where(UploadRow.path == InstanceRow.path)),
        conflicts.join(StudyRow).where(
            ConflictRow.dropped_at.is_(None), ~exists().where(UploadRow.path == ConflictRow.path)
        ),
    )
    with reading(engine) as session:
        for statement in statements:
            for path, sha256, size, study_uid in session.execute(statement.execution_options(yield_per=_ROWS)):
                yield Missing(stored=StoredFile(path=path, sha256=sha256, size=size), study_uid=study_uid)


def _named(engine: Engine) -> set[bytes]:
    """Checksums of all images that are here, owed to the bucket or not."""
    rows = (select(table.sha256).where(table.dropped_at.is_(None)) for table in (InstanceRow, ConflictRow))
    statement = union_all(*rows).execution_options(yield_per=_ROWS)
    with reading(engine) as session:
        return {bytes.fromhex(sha256) for sha256 in session.scalars(statement)}


def _dropped(engine: Engine, checksums: Sequence[bytes]) -> frozenset[str]:
    found: set[str] = set()
    with reading(engine) as session:
        for start in range(0, len(checksums), _BATCH):
            batch = [each.hex() for each in checksums[start : start + _BATCH]]
            found |= _among(session.connection(), batch, dropped=True)
    return frozenset(found)


def _among(connection: Connection, checksums: Sequence[str], *, dropped: bool) -> frozenset[str]:
    """Those of some checksums that rows have of images that were dropped, or were not."""
    statement = union_all(
        *(
            select(table.sha256).where(table.sha256.in_(checksums), (table.dropped_at.is_not(None)) == dropped)
            for table in (InstanceRow, ConflictRow)
        )
    )
    return frozenset(connection.scalars(statement))
