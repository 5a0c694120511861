"""Heat maps, kept beside the spool: `<spool>.heatmaps/<folder>/<study's number>-<revision>.json`, one file a reading.

A help and no record: they can be made again from the images, so no report waits for them, no table knows of them, and
nothing here is fsynced. A file begins with the number of its format and a checksum; one that is torn, or of another
format, counts as absent and is made again.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session, undefer

from ichd.domain.heatmap import HeatMap, heat_map_of
from ichd.domain.image_file import Bring, ImageFile, all_here
from ichd.domain.record import Record
from ichd.store.beside import is_abandoned, let_go, take_up, write_whole
from ichd.store.contents import bringing, files_of, images_of, stored_of
from ichd.store.disk import disk_trouble
from ichd.store.draft import StoredFile
from ichd.store.spool import Spool
from ichd.store.tables import FindingRow, StudyRow
from ichd.store.transaction import reading

_NAME = re.compile(r"([0-9]+)-([0-9]+)\.json")
#: Goes up with every change of what `HeatMap.to_record` writes.
_FORMAT = 2
_BATCH = 500


class BeingMade(Exception):
    """Somebody else makes the maps, or died over them less than an hour ago: look again later."""


@dataclass(frozen=True, kw_only=True)
class MapWork:
    """A reading whose heat maps are asked for."""

    study_id: int
    study_uid: str
    revision: int
    record: Record
    #: The images of the series that was read, by SOP Instance UID.
    files: Mapping[str, ImageFile]
    #: The same as the spool knows them, with their checksums.
    stored: Mapping[str, StoredFile]
    #: To be called before files are opened: they may lie in a bucket.
    bring: Bring = all_here


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
        """Take up the maps of a finding, which are the caller's to make until it calls `let_go`.

        None where they are there, a newer revision has made them useless, or the images are dropped.

        Raises:
            BeingMade: they are somebody else's.
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
            if self._read(path, study_uid) is not None:
                return None
            work = self._work(session, row, study_uid)
            if work is None:
                return None
        # Last of all: a database that fails leaves no mark.
        if not take_up(path):
            raise BeingMade
        return work

    def keep(self, work: MapWork, maps: Sequence[HeatMap]) -> None:
        """File all maps of a reading; none at all says that there is nothing to be shown, or that it can't be."""
        self.keep_of(work.study_id, work.revision, work.study_uid, maps)

    def keep_of(self, study_id: int, revision: int, study_uid: str, maps: Sequence[HeatMap]) -> None:
        """The same, for who made them without being asked to."""
        content = json.dumps({"study_uid": study_uid, "maps": [heat.to_record() for heat in maps]}).encode()
        write_whole(self._path(study_id, revision), _headline(content) + content)

    def let_go(self, work: MapWork) -> None:
        """The end of what `begin` began, whatever came of it: from now on others may try."""
        let_go(self._path(work.study_id, work.revision))

    def of_study(self, study_uid: str) -> tuple[HeatMap, ...] | None:
        """The maps of a study's present revision; None until they are made."""
        statement = select(StudyRow.id, StudyRow.revision).where(StudyRow.study_instance_uid == study_uid)
        with reading(self._engine) as session:
            found = session.execute(statement).one_or_none()
        return None if found is None else self._read(self._path(*found), study_uid)

    def of_revision(self, study_id: int, revision: int, study_uid: str) -> tuple[HeatMap, ...] | None:
        """The maps of a revision; None until they are made, and once a newer one has come."""
        return self._read(self._path(study_id, revision), study_uid)

    def forget(self, study_id: int) -> None:
        """Remove those of all revisions of a study."""
        path = self._path(study_id, 0)
        with disk_trouble():
            for file in path.parent.glob(f"{study_id}-*"):
                file.unlink(missing_ok=True)

    def sweep(self, now: datetime) -> int:
        """Remove what belongs to no study's present revision, and what dead workers left; returns how many files."""
        swept = 0
        with disk_trouble():
            # Something else than a folder among ours is nobody's business, and no reason to stop.
            files = self._root.glob("*/*")
            while batch := list(islice(files, _BATCH)):
                kept = self._present({int(named[1]) for file in batch if (named := _NAME.fullmatch(file.name))})
                for file in batch:
                    if self._is_left_over(file, kept, now):
                        file.unlink(missing_ok=True)
                        swept += 1
        return swept

    def _work(self, session: Session, row: FindingRow, study_uid: str) -> MapWork | None:
        images = images_of(session, row.study_id, series_uid=row.record["series_uid"])
        if not all(image.is_here for image in images):
            return None
        stored = stored_of(images)
        return MapWork(
            study_id=row.study_id,
            study_uid=study_uid,
            revision=row.revision,
            record=row.record,
            files=files_of(images, self._spool),
            stored=stored,
            bring=bringing(stored, self._spool),
        )

    def _read(self, path: Path, study_uid: str) -> tuple[HeatMap, ...] | None:
        with disk_trouble(), suppress(FileNotFoundError):
            headline, end, content = path.read_bytes().partition(b"\n")
            if headline + end == _headline(content):
                record = json.loads(content)
                # A database that was restored may count its studies anew.
                return tuple(map(heat_map_of, record["maps"])) if record["study_uid"] == study_uid else None
        return None

    def _present(self, study_ids: Collection[int]) -> frozenset[tuple[int, int]]:
        statement = select(StudyRow.id, StudyRow.revision).where(StudyRow.id.in_(study_ids))
        with reading(self._engine) as session:
            return frozenset((study_id, revision) for study_id, revision in session.execute(statement))

    def _is_left_over(self, file: Path, kept: Collection[tuple[int, int]], now: datetime) -> bool:
        if named := _NAME.fullmatch(file.name):
            return (int(named[1]), int(named[2])) not in kept
        return is_abandoned(file, now)

    def _path(self, study_id: int, revision: int) -> Path:
        return self._root / f"{study_id % 256:02x}" / f"{study_id}-{revision}.json"


def _headline(content: bytes) -> bytes:
    return f"{_FORMAT} {hashlib.sha256(content).hexdigest()}\n".encode()
