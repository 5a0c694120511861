"""What is stored, as an archive's catalogue: found by UIDs, dates and numbers, a page at a time, with its files.

Conflicting duplicates are not in it: under each SOP Instance UID there are the bytes that came first.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, Select, exists, func, select
from sqlalchemy.orm import Session

from ichd.domain.image_file import ImageFile
from ichd.domain.study import InstanceFacts
from ichd.store.criteria import FIRST, Criteria, of_first_image, of_instance, of_its_series, of_series, of_study
from ichd.store.facts import facts_from_json
from ichd.store.spool import Spool, StoredFile
from ichd.store.tables import InstanceRow, SeriesRow, StudyRow
from ichd.store.transaction import reading

_FILES_BATCH = 500
#: Ids bound in one statement: SQLite takes 32,766 parameters.
_IDS_BATCH = 1000
_IS_HERE = InstanceRow.dropped_at.is_(None)


@dataclass(frozen=True, kw_only=True)
class CataloguedInstance:
    """A stored image, with its file."""

    facts: InstanceFacts
    stored: StoredFile
    #: Where the file lies, or lay.
    path: Path
    #: Since when the file is gone by retention; None while it is here.
    dropped_at: datetime | None = None

    @property
    def file(self) -> ImageFile:
        """The file with what its bytes must be, for who decodes it."""
        return ImageFile(path=self.path, sha256=self.stored.sha256)


@dataclass(frozen=True, kw_only=True)
class CataloguedSeries:
    """A series, and how much of it is stored."""

    series_instance_uid: str
    instances: int
    #: How many of them are not here any more.
    dropped: int
    study: "CataloguedStudy"
    #: Its first image, of those that are here as long as one is.
    sample: CataloguedInstance


@dataclass(frozen=True, kw_only=True)
class CataloguedStudy:
    """A study, and how much of it is stored."""

    study_instance_uid: str
    accession_number: str
    series: int
    instances: int
    #: How many of them are not here any more.
    dropped: int
    #: In order, without repetition.
    modalities: tuple[str, ...]
    sop_classes: tuple[str, ...]
    #: Its newest image, of those that are here as long as one is.
    sample: CataloguedInstance


class Catalogue:
    """Each method is one transaction, and raises Transient where the database or the spool fails."""

    def __init__(self, engine: Engine, spool: Spool) -> None:
        self._engine = engine
        self._spool = spool

    def studies(self, criteria: Criteria, *, limit: int, offset: int = 0) -> list[CataloguedStudy]:
        """Studies that hold at least one image, those that arrived last first."""
        holds_images = exists().where(SeriesRow.study_id == StudyRow.id, InstanceRow.series_id == SeriesRow.id)
        conditions = [holds_images, *of_study(criteria), *of_its_series(criteria)]
        statement = select(StudyRow).where(*conditions).order_by(StudyRow.received_at.desc(), StudyRow.id.desc())
        with reading(self._engine) as session:
            rows = session.scalars(statement.limit(limit).offset(offset)).all()
            described = self._describe(session, rows)
            return [described[row.id] for row in rows]

    def series(self, criteria: Criteria, *, limit: int, offset: int = 0) -> list[CataloguedSeries]:
        """Series in the order of their studies, and in the order of their arrival within each."""
        holds_images = exists().where(InstanceRow.series_id == SeriesRow.id)
        statement = (
            select(SeriesRow, StudyRow)
            .join(StudyRow, SeriesRow.study_id == StudyRow.id)
            .where(holds_images, *of_study(criteria), *of_series(criteria))
            .order_by(StudyRow.received_at.desc(), StudyRow.id.desc(), SeriesRow.id)
        )
        with reading(self._engine) as session:
            rows = session.execute(statement.limit(limit).offset(offset)).all()
            studies = self._describe(session, list({study.id: study for _, study in rows}.values()))
            counts, samples = self._series_contents(session, [series.id for series, _ in rows])
            return [
                CataloguedSeries(
                    series_instance_uid=series.series_instance_uid,
                    instances=counts[series.id][0],
                    dropped=counts[series.id][1],
                    study=studies[study.id],
                    sample=samples[series.id],
                )
                for series, study in rows
            ]

    def instances(self, criteria: Criteria, *, limit: int, offset: int = 0) -> list[CataloguedInstance]:
        """Images in the order of their arrival."""
        with reading(self._engine) as session:
            statement = self._instances(session, criteria).order_by(InstanceRow.id)
            return [self._instance(*row) for row in session.execute(statement.limit(limit).offset(offset))]

    def files(self, criteria: Criteria) -> Iterator[CataloguedInstance]:
        """All images that match, in the order of their arrival; read in batches, however many there are."""
        last = 0
        while True:
            with reading(self._engine) as session:
                statement = self._instances(session, criteria).where(InstanceRow.id > last).order_by(InstanceRow.id)
                batch = session.execute(statement.limit(_FILES_BATCH)).all()
            yield from (self._instance(*row) for row in batch)
            if len(batch) < _FILES_BATCH:
                return
            last = batch[-1][0].id

    def bring(self, instances: Collection[CataloguedInstance]) -> None:
        """Make sure that their files lie on this machine, as far as they are to be had."""
        self._spool.bring([instance.stored for instance in instances])

    def is_whole(self, instance: CataloguedInstance) -> bool:
        """Whether its file lies where it was stored, with its size."""
        return instance.dropped_at is None and self._spool.holds(instance.stored)

    def _instances(self, session: Session, criteria: Criteria) -> Select[InstanceRow, str, str]:
        statement = (
            select(InstanceRow, SeriesRow.series_instance_uid, StudyRow.study_instance_uid)
            .join(SeriesRow, InstanceRow.series_id == SeriesRow.id)
            .join(StudyRow, SeriesRow.study_id == StudyRow.id)
            .where(*of_instance(criteria))
        )
        above = [*of_study(criteria), *of_series(criteria)]
        if above:
            # Looked up first: left to a planner without statistics, the order by id can become a walk over all images.
            narrowed = select(SeriesRow.id).join(StudyRow, SeriesRow.study_id == StudyRow.id).where(*above)
            if criteria.study_uids or criteria.series_uids:
                series_ids = session.scalars(narrowed.limit(_IDS_BATCH + 1)).all()
                if len(series_ids) <= _IDS_BATCH:
                    return statement.where(InstanceRow.series_id.in_(series_ids))
            return statement.where(InstanceRow.series_id.in_(narrowed))
        return statement

    def _describe(self, session: Session, studies: Sequence[StudyRow]) -> dict[int, CataloguedStudy]:
        """By id; those without an image are left out."""
        statement = (
            select(
                SeriesRow.study_id,
                func.count(SeriesRow.id.distinct()),
                func.count(InstanceRow.id),
                func.count(InstanceRow.dropped_at),
                func.coalesce(func.max(InstanceRow.id).filter(_IS_HERE), func.max(InstanceRow.id)),
            )
            .join(InstanceRow, InstanceRow.series_id == SeriesRow.id)
            .group_by(SeriesRow.study_id)
        )
        batches = _batches([study.id for study in studies])
        rows = (row for ids in batches for row in session.execute(statement.where(SeriesRow.study_id.in_(ids))))
        counted = {row[0]: row[1:] for row in rows}
        samples = self._by_id(session, [newest for *_, newest in counted.values()])
        modalities, classes = _kinds(session, list(counted))
        return {
            study.id: CataloguedStudy(
                study_instance_uid=study.study_instance_uid,
                accession_number=study.accession_number,
                series=series,
                instances=instances,
                dropped=dropped,
                modalities=tuple(sorted(modalities[study.id])),
                sop_classes=tuple(sorted(classes[study.id])),
                sample=samples[newest],
            )
            for study in studies
            if study.id in counted
            for series, instances, dropped, newest in [counted[study.id]]
        }

    def _series_contents(
        self, session: Session, ids: Sequence[int]
    ) -> tuple[Mapping[int, tuple[int, int]], Mapping[int, CataloguedInstance]]:
        """How many images and how many of them dropped, and the first of them that is here, by id of the series."""
        first_here = func.coalesce(func.min(InstanceRow.id).filter(_IS_HERE), func.min(InstanceRow.id))
        statement = select(InstanceRow.series_id, func.count(), func.count(InstanceRow.dropped_at), first_here)
        grouped = statement.group_by(InstanceRow.series_id)
        counted = [
            (series_id, count, dropped, first)
            for batch in _batches(ids)
            for series_id, count, dropped, first in session.execute(grouped.where(InstanceRow.series_id.in_(batch)))
        ]
        samples = self._by_id(session, [first for *_, first in counted])
        counts = {series_id: (count, dropped) for series_id, count, dropped, _ in counted}
        return counts, {series_id: samples[first] for series_id, *_, first in counted}

    def _by_id(self, session: Session, ids: Sequence[int]) -> Mapping[int, CataloguedInstance]:
        statement = self._instances(session, Criteria())
        rows = (row for ids_ in _batches(ids) for row in session.execute(statement.where(InstanceRow.id.in_(ids_))))
        return {row[0].id: self._instance(*row) for row in rows}

    def _instance(self, row: InstanceRow, series_uid: str, study_uid: str) -> CataloguedInstance:
        return CataloguedInstance(
            facts=facts_from_json(
                row.facts,
                study_instance_uid=study_uid,
                series_instance_uid=series_uid,
                sop_instance_uid=row.sop_instance_uid,
                sop_class_uid=row.sop_class_uid,
            ),
            stored=StoredFile(path=row.path, sha256=row.sha256, size=row.size),
            path=self._spool.locate(row.path),
            dropped_at=row.dropped_at,
        )


def _kinds(session: Session, study_ids: Sequence[int]) -> tuple[Mapping[int, set[str]], Mapping[int, set[str]]]:
    """Modalities and SOP classes by id of the study, as the first image of each series says: a series has one of each
    in all but damaged data."""
    statement = select(SeriesRow.study_id, InstanceRow.facts, InstanceRow.sop_class_uid).join(
        InstanceRow, InstanceRow.id == of_first_image(FIRST.id)
    )
    modalities: dict[int, set[str]] = defaultdict(set)
    classes: dict[int, set[str]] = defaultdict(set)
    for batch in _batches(study_ids):
        for study_id, facts, sop_class_uid in session.execute(statement.where(SeriesRow.study_id.in_(batch))):
            modalities[study_id].add(facts.get("modality", ""))
            classes[study_id].add(sop_class_uid)
    return modalities, classes


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _IDS_BATCH):
        yield ids[start : start + _IDS_BATCH]
