"""What machines still owe to the bucket: rows that commit with the images, and go once the bucket has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, Select, String, exists, func, insert, literal, select, union_all
from sqlalchemy.orm import Session

from ichd.store.columns import UtcDateTime
from ichd.store.draft import StoredFile
from ichd.store.removal import Removals, owe_removal_of_dropped
from ichd.store.settling import strike_out
from ichd.store.tables import ConflictRow, InstanceRow, RemovalRow, UploadRow
from ichd.store.transaction import reading, writing

#: Paths bound in one statement: SQLite takes 32,766 parameters.
_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What a machine owes."""

    files: int
    bytes: int
    #: Since when; None where it owes nothing.
    oldest: datetime | None


class Uploads:
    """Every method is one transaction, and raises Transient where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.removals = Removals(engine)

    def next(self, machine: str, *, limit: int, up_to: int | None = None) -> list[StoredFile]:
        """Files that a machine owes, those that came first before others; those up to a number, where one is given.

        Not those whose bytes are owed to be removed as well: they are brought once that is done.
        """
        going = exists().where(RemovalRow.sha256 == UploadRow.sha256)
        statement = select(UploadRow.path, UploadRow.sha256, UploadRow.size).where(UploadRow.machine == machine, ~going)
        if up_to is not None:
            statement = statement.where(UploadRow.id <= up_to)
        with reading(self._engine) as session:
            rows = session.execute(statement.order_by(UploadRow.id).limit(limit))
            return [StoredFile(path=path, sha256=sha256, size=size) for path, sha256, size in rows]

    def newest(self, machine: str) -> int:
        """The number of the last file that a machine owes, for `next`; 0 where it owes nothing."""
        with reading(self._engine) as session:
            return session.scalar(select(func.max(UploadRow.id)).where(UploadRow.machine == machine)) or 0

    def owed(self, paths: Sequence[str]) -> Mapping[str, str]:
        """Those of some paths that are not in the bucket yet, with the machine that has each."""
        found: dict[str, str] = {}
        with reading(self._engine) as session:
            for start in range(0, len(paths), _BATCH):
                wanted = UploadRow.path.in_(paths[start : start + _BATCH])
                rows = session.execute(select(UploadRow.path, UploadRow.machine).where(wanted))
                found |= {row.path: row.machine for row in rows}
        return found

    def settle(self, files: Sequence[StoredFile], *, now: datetime) -> list[StoredFile]:
        """The bucket has these files, or nobody has them any more; some may be settled already.

        What was dropped while it was on its way has arrived after it was removed: its removal is owed once more.
        Returns those, of which copies may lie here.
        """
        with writing(self._engine) as session:
            settled = strike_out(session.connection(), [file.path for file in files])
        late = [file for file in files if file.path not in settled]
        if not late:
            return []
        with writing(self._engine) as session:
            return owe_removal_of_dropped(session, late, now)

    def backlog(self, machine: str | None = None) -> Backlog:
        """What one machine owes, or all of them."""
        statement = select(func.count(), func.coalesce(func.sum(UploadRow.size), 0), func.min(UploadRow.stored_at))
        if machine is not None:
            statement = statement.where(UploadRow.machine == machine)
        with reading(self._engine) as session:
            files, size, oldest = session.execute(statement).one()
        return Backlog(files=files, bytes=int(size), oldest=oldest)

    def backlogs(self) -> Mapping[str, Backlog]:
        """What each machine owes that owes anything."""
        counted = (func.count(), func.sum(UploadRow.size), func.min(UploadRow.stored_at))
        with reading(self._engine) as session:
            rows = session.execute(select(UploadRow.machine, *counted).group_by(UploadRow.machine)).all()
        return {machine: Backlog(files=files, bytes=int(size), oldest=oldest) for machine, files, size, oldest in rows}

    def owe_everything(self, machine: str, *, now: datetime) -> None:
        """Every image that is stored is owed by a machine: a folder that so far was all there was gets a bucket."""
        with writing(self._engine) as session:
            _owe(session, machine, now)

    def owe(self, files: Sequence[StoredFile], machine: str, *, now: datetime) -> None:
        """Files are owed by a machine once more, as far as rows still name them."""
        with writing(self._engine) as session:
            for start in range(0, len(files), _BATCH):
                _owe(session, machine, now, [file.path for file in files[start : start + _BATCH]])


def _owe(session: Session, machine: str, now: datetime, paths: Sequence[str] | None = None) -> None:
    """Of every image that is here, or of those with some paths."""
    images = union_all(*(_here(table, paths) for table in (InstanceRow, ConflictRow))).subquery()
    owed = select(UploadRow.path).where(UploadRow.path == images.c.path)
    rows = select(images, literal(machine, String), literal(now, UtcDateTime)).where(~owed.exists())
    columns = ["path", "sha256", "size", "machine", "stored_at"]
    session.execute(insert(UploadRow).from_select(columns, rows))


def _here(table: type[InstanceRow | ConflictRow], paths: Sequence[str] | None) -> Select[str, str, int]:
    statement = select(table.path, table.sha256, table.size).where(table.dropped_at.is_(None))
    return statement if paths is None else statement.where(table.path.in_(paths))
