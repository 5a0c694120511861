"""Which images are here: those that could go, the oldest first, and those that must stay, with the reason."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, Engine, and_, exists, func, or_, select, union_all
from sqlalchemy.orm import Session

from ichd.domain.job import JobState
from ichd.domain.retention import DONE_WITH
from ichd.domain.study import StudyState
from ichd.store.draft import StoredFile
from ichd.store.tables import ConflictRow, InstanceRow, JobRow, SeriesRow, StudyRow
from ichd.store.transaction import reading

#: Studies of one look: a run that drops few of them should not have weighed many.
_BATCH = 100


class Kept(StrEnum):
    """Why a study keeps its images."""

    UNDER_WAY = "under_way"
    FAILED = "failed"
    OWED = "owed"

    @property
    def meaning(self) -> str:
        """One sentence for people, with the mend where there is one."""
        return _MEANINGS[self]


_MEANINGS = {
    Kept.UNDER_WAY: "not finished",
    Kept.FAILED: "failed: run `ichd retry`, or `ichd reprocess`, once the cause is mended",
    Kept.OWED: "a destination is still owed its report; `ichd status STUDY` says why",
}


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How much it is."""

    studies: int = 0
    images: int = 0
    bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            studies=self.studies + other.studies, images=self.images + other.images, bytes=self.bytes + other.bytes
        )


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A study whose images could go."""

    study_id: int
    study_uid: str
    finished_at: datetime
    amount: Amount


@dataclass(frozen=True, kw_only=True)
class FileHere:
    """A file that was not dropped."""

    stored: StoredFile
    #: Of an image; a conflict's is not looked at.
    sop_class_uid: str | None


def _is_owed() -> ColumnElement[bool]:
    """Of a study: work waits for its images, or would if a person revived it."""
    return exists().where(
        JobRow.study_id == StudyRow.id,
        or_(
            JobRow.state.in_((JobState.QUEUED, JobState.LEASED)),
            and_(JobRow.state == JobState.DEAD, JobRow.revision == StudyRow.revision),
        ),
    )


def owes(session: Session, study_id: int) -> bool:
    """Whether a study still needs its images for work that is queued, leased, or dead and may be revived."""
    return session.scalars(select(StudyRow.id).where(StudyRow.id == study_id, _is_owed())).one_or_none() is not None


def candidates(
    engine: Engine, *, finished_from: datetime | None = None, finished_before: datetime | None = None
) -> Iterator[Candidate]:
    """Studies that are done with and still have images, those that were finished first before others.

    Read in batches, so that what becomes of one may be decided before the next is looked for.

    Raises:
        Transient: the database does not answer.
    """
    wanted = [StudyRow.images_dropped_at.is_(None), StudyRow.state.in_(DONE_WITH), ~_is_owed()]
    if finished_before is not None:
        wanted.append(StudyRow.finished_at < finished_before)
    after = [StudyRow.finished_at >= finished_from] if finished_from is not None else []
    while True:
        statement = select(StudyRow.id, StudyRow.study_instance_uid, StudyRow.finished_at).where(*wanted, *after)
        with reading(engine) as session:
            rows = session.execute(statement.order_by(StudyRow.finished_at, StudyRow.id).limit(_BATCH)).all()
            amounts = _amounts(session, [row.id for row in rows])
        for row in rows:
            yield Candidate(
                study_id=row.id,
                study_uid=row.study_instance_uid,
                finished_at=row.finished_at,
                amount=amounts[row.id],
            )
        if len(rows) < _BATCH:
            return
        last = rows[-1]
        # The first condition is for the index, which the second alone would not let a planner use.
        after = [
            StudyRow.finished_at >= last.finished_at,
            or_(StudyRow.finished_at > last.finished_at, StudyRow.id > last.id),
        ]


def kept(engine: Engine) -> Mapping[Kept, Amount]:
    """What must stay, by the reason.

    Raises:
        Transient: the database does not answer.
    """
    conditions: dict[Kept, Sequence[ColumnElement[bool]]] = {
        Kept.UNDER_WAY: [StudyRow.state.in_((StudyState.RECEIVING, StudyState.READY, StudyState.ANALYSING))],
        Kept.FAILED: [StudyRow.state == StudyState.FAILED],
        Kept.OWED: [StudyRow.state.in_(DONE_WITH), _is_owed()],
    }
    found = dict.fromkeys(Kept, Amount())
    with reading(engine) as session:
        for reason, wanted in conditions.items():
            ids = session.scalars(select(StudyRow.id).where(StudyRow.images_dropped_at.is_(None), *wanted)).all()
            for start in range(0, len(ids), _BATCH):
                found[reason] = sum(_amounts(session, ids[start : start + _BATCH]).values(), start=found[reason])
    return found


def studies_with_images(engine: Engine) -> int:
    """How many studies have images, done with or not.

    Raises:
        Transient: the database does not answer.
    """
    with reading(engine) as session:
        counted = select(func.count()).select_from(StudyRow).where(StudyRow.images_dropped_at.is_(None))
        return session.scalar(counted) or 0


def files_here(session: Session, study_id: int) -> list[FileHere]:
    """The files of a study, those of conflicting duplicates among them."""
    images = (
        select(InstanceRow.path, InstanceRow.sha256, InstanceRow.size, InstanceRow.sop_class_uid)
        .join(SeriesRow, InstanceRow.series_id == SeriesRow.id)
        .where(SeriesRow.study_id == study_id, InstanceRow.dropped_at.is_(None))
    )
    conflicts = select(ConflictRow.path, ConflictRow.sha256, ConflictRow.size).where(
        ConflictRow.study_id == study_id, ConflictRow.dropped_at.is_(None)
    )
    found = [
        FileHere(stored=StoredFile(path=path, sha256=sha256, size=size), sop_class_uid=sop_class_uid)
        for path, sha256, size, sop_class_uid in session.execute(images)
    ]
    found += [
        FileHere(stored=StoredFile(path=path, sha256=sha256, size=size), sop_class_uid=None)
        for path, sha256, size in session.execute(conflicts)
    ]
    return found


def dropped_among(session: Session, paths: Collection[str]) -> frozenset[str]:
    """Those of some spool paths whose row says that the file was dropped."""
    statement = union_all(
        *(
            select(table.path).where(table.path.in_(paths), table.dropped_at.is_not(None))
            for table in (InstanceRow, ConflictRow)
        )
    )
    return frozenset(session.scalars(statement))


def _amounts(session: Session, study_ids: Collection[int]) -> Mapping[int, Amount]:
    """By id of the study."""
    images = (
        select(SeriesRow.study_id, func.count(), func.sum(InstanceRow.size))
        .join_from(SeriesRow, InstanceRow, InstanceRow.series_id == SeriesRow.id)
        .where(SeriesRow.study_id.in_(study_ids), InstanceRow.dropped_at.is_(None))
        .group_by(SeriesRow.study_id)
    )
    conflicts = (
        select(ConflictRow.study_id, func.count(), func.sum(ConflictRow.size))
        .where(ConflictRow.study_id.in_(study_ids), ConflictRow.dropped_at.is_(None))
        .group_by(ConflictRow.study_id)
    )
    amounts = {study_id: Amount(studies=1) for study_id in study_ids}
    for statement in (images, conflicts):
        for study_id, count, size in session.execute(statement):
            amounts[study_id] += Amount(images=count, bytes=int(size))
    return defaultdict(Amount, amounts)
