"""Heat maps, kept beside the spool: `<spool>.heatmaps/<folder>/<study's number>-<revision>.json`, one file a reading.

A help and no record: they can be made again from the images, so no report waits for them, no table knows of them, and
nothing here is fsynced. A file carries a checksum; one that is torn counts as absent.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session, undefer

from ichd.domain.heatmap import HeatMap, heat_map_of
from ichd.domain.record import Record
from ichd.store.contents import images_of
from ichd.store.disk import disk_trouble
from ichd.store.draft import PARTIAL, StoredFile
from ichd.store.spool import Spool
from ichd.store.tables import FindingRow, StudyRow
from ichd.store.transaction import reading

_NAME = re.compile(r"([0-9]+)-([0-9]+)\.json")
#: Stands beside a file that somebody is making.
_BUSY = ".busy"
#: Whoever began so long ago died of it, or of something else.
_ABANDONED_AFTER = timedelta(hours=1)
_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class MapWork:
    """A reading whose heat maps are asked for."""

    study_id: int
    study_uid: str
    revision: int
    record: Record
    #: The images of the series that was read, by SOP Instance UID.
    files: Mapping[str, Path]
    #: The same as the spool knows them, with their checksums.
    stored: Mapping[str, StoredFile]


class HeatMaps:
    """The maps of all studies in one spool. Safe for any number of processes.

    Every method raises Transient where the database or the disk fails.
    """

    def __init__(self, engine: Engine, spool: Spool) -> None:
        root = spool.root.absolute()
        self._engine = engine
        self._spool = spool
        self._root = root.with_name(f"{root.name}.heatmaps")

    def findings(self, *, after: int, limit: int) -> list[int]:
        """Numbers of findings with probabilities, in the order of their making; cheap enough to be asked for often."""
        statement = select(FindingRow.id).where(FindingRow.id > after, FindingRow.scan.is_not(None))
        with reading(self._engine) as session:
            return list(session.scalars(statement.order_by(FindingRow.id).limit(limit)))

    def newest_finding(self) -> int:
        """The highest number of a finding, 0 where there is none."""
        with reading(self._engine) as session:
            return session.scalar(select(func.max(FindingRow.id))) or 0

    def begin(self, finding: int) -> MapWork | None:
        """Take up the maps of a finding.

        None where they are there, somebody else makes them, or a newer revision has made them useless.
        """
        with reading(self._engine) as session:
            statement = (
                select(FindingRow, StudyRow.study_instance_uid)
                .join(StudyRow, FindingRow.study_id == StudyRow.id)
                .where(FindingRow.id == finding, FindingRow.revision == StudyRow.revision)
                .options(undefer(FindingRow.record))
            )
            found = session.execute(statement).one_or_none()
            if found is None:
                return None
            row, study_uid = found
            path = self._path(row.study_id, row.revision)
            if path.exists() or not self._mark(path):
                return None
            return self._work(session, row, study_uid)

    def keep(self, work: MapWork, maps: Sequence[HeatMap]) -> None:
        """File all maps of a reading; none at all says that there is nothing to be shown, or that it can't be."""
        path = self._path(work.study_id, work.revision)
        content = json.dumps({"study_uid": work.study_uid, "maps": [heat.to_record() for heat in maps]})
        checksum = hashlib.sha256(content.encode()).hexdigest()
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")
        with disk_trouble():
            try:
                draft.write_text(f"{checksum}\n{content}", encoding="utf-8")
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
                path.with_suffix(_BUSY).unlink(missing_ok=True)

    def of_study(self, study_uid: str) -> tuple[HeatMap, ...]:
        """The maps of a study's present revision; empty until they are made."""
        statement = select(StudyRow.id, StudyRow.revision).where(StudyRow.study_instance_uid == study_uid)
        with reading(self._engine) as session:
            found = session.execute(statement).one_or_none()
        return () if found is None else self._read(self._path(*found), study_uid)

    def sweep(self, now: datetime) -> int:
        """Remove what belongs to no study's present revision, and what dead workers left; returns how many files."""
        swept = 0
        with disk_trouble():
            files = (file for folder in sorted(self._root.glob("*")) for file in folder.iterdir())
            while batch := list(islice(files, _BATCH)):
                kept = self._present({int(named[1]) for file in batch if (named := _NAME.fullmatch(file.name))})
                for file in batch:
                    if self._is_left_over(file, kept, now):
                        file.unlink(missing_ok=True)
                        swept += 1
        return swept

    def _work(self, session: Session, row: FindingRow, study_uid: str) -> MapWork:
        images = images_of(session, row.study_id, series_uid=row.record["series_uid"])
        return MapWork(
            study_id=row.study_id,
            study_uid=study_uid,
            revision=row.revision,
            record=row.record,
            files={image.row.sop_instance_uid: self._spool.locate(image.row.path) for image in images},
            stored={image.row.sop_instance_uid: image.stored for image in images},
        )

    def _mark(self, path: Path) -> bool:
        """Whether these maps are ours to make; the mark of a process that dies stays, and holds for an hour."""
        with disk_trouble():
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            try:
                os.close(os.open(path.with_suffix(_BUSY), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640))
            except FileExistsError:
                return False
        return True

    def _read(self, path: Path, study_uid: str) -> tuple[HeatMap, ...]:
        with disk_trouble(), suppress(FileNotFoundError):
            checksum, _, content = path.read_text("utf-8", errors="replace").partition("\n")
            if hashlib.sha256(content.encode()).hexdigest() == checksum:
                record = json.loads(content)
                # A database that was restored may count its studies anew.
                return tuple(map(heat_map_of, record["maps"])) if record["study_uid"] == study_uid else ()
        return ()

    def _present(self, study_ids: Collection[int]) -> frozenset[tuple[int, int]]:
        statement = select(StudyRow.id, StudyRow.revision).where(StudyRow.id.in_(study_ids))
        with reading(self._engine) as session:
            return frozenset((study_id, revision) for study_id, revision in session.execute(statement))

    def _is_left_over(self, file: Path, kept: Collection[tuple[int, int]], now: datetime) -> bool:
        if named := _NAME.fullmatch(file.name):
            return (int(named[1]), int(named[2])) not in kept
        return file.suffix in {_BUSY, PARTIAL} and _age(file, now) > _ABANDONED_AFTER

    def _path(self, study_id: int, revision: int) -> Path:
        return self._root / f"{study_id % 256:02x}" / f"{study_id}-{revision}.json"


def _age(file: Path, now: datetime) -> timedelta:
    try:
        return now - datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except FileNotFoundError:
        return timedelta()
