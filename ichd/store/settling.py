"""What the bucket has got is owed no more."""

from collections.abc import Sequence

from sqlalchemy import Connection, Select, bindparam, delete, select

from ichd.store.tables import ConflictRow, InstanceRow, UploadRow

#: Paths bound in one statement: SQLite takes 32,766 parameters.
_BATCH = 500


def _row_of_bytes(table: type[InstanceRow | ConflictRow]) -> Select[str]:
    """Locked, so that retention drops it before we look, or after we are done."""
    wanted = (table.sop_instance_uid == bindparam("uid"), table.sha256 == bindparam("sha256"))
    return select(table.path).where(*wanted, table.dropped_at.is_(None)).with_for_update()


_OF_BYTES = tuple(_row_of_bytes(table) for table in (InstanceRow, ConflictRow))


def settle_all(connection: Connection, images: Sequence[tuple[str, str]]) -> list[bool]:
    """Strike out the debts of images, given by SOP Instance UID and SHA-256; says for each whether a row has it."""
    paths = {image: _path_of(connection, *image) for image in sorted(set(images))}
    strike_out(connection, [path for path in paths.values() if path is not None])
    return [paths[image] is not None for image in images]


def strike_out(connection: Connection, paths: Sequence[str]) -> frozenset[str]:
    """Remove the debts of some spool paths; returns those of which there was one.

    Locked in one order first: an uploader and who secures an image may hold the same, and must not wait in a circle.
    """
    struck: set[str] = set()
    ordered = sorted(paths)
    for start in range(0, len(ordered), _BATCH):
        wanted = UploadRow.path.in_(ordered[start : start + _BATCH])
        there = connection.scalars(select(UploadRow.path).where(wanted).order_by(UploadRow.path).with_for_update())
        struck |= set(there)
        connection.execute(delete(UploadRow).where(wanted))
    return frozenset(struck)


def _path_of(connection: Connection, uid: str, sha256: str) -> str | None:
    """Of the row that has these bytes; None where none has, or retention dropped them."""
    for statement in _OF_BYTES:
        path: str | None = connection.scalar(statement, {"uid": uid, "sha256": sha256})
        if path is not None:
            return path
    return None
