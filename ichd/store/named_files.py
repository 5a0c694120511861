"""Which files the rows of a database name, for whoever copies a spool or looks whether it is whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Engine, Select, func, select

from ichd.store.spool import StoredFile
from ichd.store.tables import Base, ConflictRow, InstallationRow, InstanceRow, RenditionRow, UploadRow
from ichd.store.transaction import reading

#: Rows that are held at a time; there may be millions.
_BATCH = 1000


class Room(StrEnum):
    """Where a file lies."""

    SPOOL = "spool"
    #: Beside the spool, `ichd.store.outbox`.
    OUTBOX = "outbox"


@dataclass(frozen=True, kw_only=True)
class NamedFile:
    """A file that a row names."""

    room: Room
    stored: StoredFile


def named_files(connection: Connection, *, in_bucket: bool) -> Iterator[NamedFile]:
    """All files that are to be there: no dropped images, and with a bucket only those that are still owed to it."""
    for table in (InstanceRow, ConflictRow):
        statement = select(table.path, table.sha256, table.size).where(table.dropped_at.is_(None))
        if in_bucket:
            statement = statement.where(table.path.in_(select(UploadRow.path)))
        yield from _files(connection, Room.SPOOL, statement)
    outbox = select(RenditionRow.path, RenditionRow.sha256, RenditionRow.size).where(RenditionRow.path != "")
    yield from _files(connection, Room.OUTBOX, outbox)


def is_named(engine: Engine, file: NamedFile) -> bool:
    """Whether a row still names it: retention, a resend or the sweep of the outbox may have taken the name away."""
    path = file.stored.path
    if file.room is Room.OUTBOX:
        statements: tuple[Select[int], ...] = (select(RenditionRow.id).where(RenditionRow.path == path),)
    else:
        statements = tuple(
            select(table.id).where(table.path == path, table.dropped_at.is_(None))
            for table in (InstanceRow, ConflictRow)
        )
    with reading(engine) as session:
        return any(session.scalars(statement).first() is not None for statement in statements)


def owner_code(connection: Connection) -> str | None:
    """The code of the spool that belongs to the database; None where it has none."""
    row = connection.execute(select(InstallationRow.code).where(InstallationRow.has_spool)).one_or_none()
    return None if row is None else str(row.code)


def row_counts(connection: Connection) -> dict[str, int]:
    """Rows by table."""
    tables = Base.metadata.sorted_tables
    return {t.name: connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables}


def _files(connection: Connection, room: Room, statement: Select[str, str, int]) -> Iterator[NamedFile]:
    for row in connection.execute(statement, execution_options={"yield_per": _BATCH}):
        yield NamedFile(room=room, stored=StoredFile(path=row.path, sha256=row.sha256, size=row.size))
