"""One study is removed for good: its files, then its rows. The audit trail says so, and keeps what it said before.

Images first, as retention drops them, rows after: whoever dies in between leaves a study without images, which is
looked at and forgotten again. The other way round files would lie there that nobody can name. Rows go only from a
study to which nothing came meanwhile: what was acknowledged in between stays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, Engine, Select, delete, exists, func, select, update
from sqlalchemy.orm import Session

from ichd.domain.audit import OURSELVES, AuditEvent, AuditOutcome
from ichd.domain.errors import UserError
from ichd.domain.job import JobKind, JobState
from ichd.domain.study import FINISHED
from ichd.store.asker import Asker, tell_audit
from ichd.store.audit import record_audit
from ichd.store.draft import StoredFile
from ichd.store.heatmaps import HeatMaps
from ichd.store.outbox import outbox_beside
from ichd.store.removal import owe_removal
from ichd.store.spool import Spool
from ichd.store.study_row import by_uid
from ichd.store.tables import (
    AnnouncementRow,
    ArrivalRow,
    ConflictRow,
    FindingRow,
    InstanceRow,
    JobRow,
    PromiseRow,
    ReceiptRow,
    RefusalRow,
    RenditionRow,
    ReviewRow,
    SeriesRow,
    StudyRow,
    UploadRow,
)
from ichd.store.transaction import reading, writing

_T = TypeVar("_T")
#: Paths of one statement: SQLite takes 32,766 parameters.
_BATCH = 200


@dataclass(frozen=True, kw_only=True)
class Forgettable:
    """What is there of a study that may be forgotten."""

    study_uid: str
    #: Files that lie in the spool, conflicting duplicates among them, and their bytes.
    images: int
    bytes: int
    findings: int
    reviews: int
    #: Names of the destinations that took a report, which stays there.
    sent_to: tuple[str, ...]


class Erasure:
    """Every method raises Transient where the database, the disk or the bucket fails: to be done again, and then it
    goes on where it stopped.
    """

    def __init__(self, engine: Engine, spool: Spool) -> None:
        self._engine = engine
        self._spool = spool

    def look(self, study_uid: str) -> Forgettable:
        """What would go; nothing is changed.

        Raises:
            UserError: the study is unknown, or can't be forgotten now; the message names the mend.
        """
        with reading(self._engine) as session:
            study = by_uid(session, study_uid)
            _require_forgettable(session, study)
            return _amounts(session, study)

    def forget(self, study_uid: str, *, asker: Asker, now: datetime) -> Forgettable:
        """Remove it; returns what there was.

        Raises:
            UserError: as `look`; or something came to the study meanwhile, which keeps what is left of it.
        """
        with writing(self._engine) as session:
            study = by_uid(session, study_uid)
            _require_forgettable(session, study)
            study_id, found = study.id, _amounts(session, study)
            # Those that retention dropped, too: a death may have kept it from deleting their files.
            files = _files(session, study.id)
            rendered = session.scalars(
                select(RenditionRow.path).where(RenditionRow.study_id == study.id, RenditionRow.path != "")
            ).all()
            _drop(session, study, found, now)
            if self._spool.has_bucket:
                owe_removal(session, files, now)
        for file in files:
            self._spool.discard(file.path)
        self._spool.remove_owed()
        outbox = outbox_beside(self._spool)
        for path in rendered:
            outbox.discard(path)
        HeatMaps(self._engine, self._spool).forget(study_id)
        with writing(self._engine) as session:
            study = by_uid(session, study_uid)
            _require_forgettable(session, study)
            if study.id != study_id or _has_images(session, study.id):
                raise UserError(
                    f"images of study {study_uid} came in meanwhile and were kept; run `ichd forget` again once it is "
                    "finished"
                )
            _remove_rows(session, study)
            counts = {"instances": len(files), "findings": found.findings, "reviews": found.reviews}
            tell_audit(session, asker, AuditEvent.STUDY_FORGOTTEN, study_uid, now=now, **counts)
        return found


def _require_forgettable(session: Session, study: StudyRow) -> None:
    """Nobody works on it, nobody is owed anything of it, and nothing of it is on its way.

    Raises:
        UserError: else.
    """
    uid = study.study_instance_uid
    open_jobs = select(JobRow).where(JobRow.study_id == study.id, JobRow.state.in_((JobState.LEASED, JobState.QUEUED)))
    # Leased ones first: l sorts before q.
    job = session.scalars(open_jobs.order_by(JobRow.state).limit(1)).one_or_none()
    if job is not None and job.state is JobState.LEASED:
        does = "reads it" if job.kind is JobKind.ANALYSE else f"sends its report to {job.destination}"
        raise UserError(f"a worker {does} at this moment; forget study {uid} once that has ended (`ichd status {uid}`)")
    if job is not None and job.kind is JobKind.PUBLISH:
        raise UserError(
            f"destination {job.destination} is still owed the report on study {uid}; mend what `ichd status {uid}` "
            "names, or wait until delivery is given up (give_up_after_h of the destination)"
        )
    if job is not None or study.state not in FINISHED:
        raise UserError(f"study {uid} is still {study.state}; forget it once it has ended (`ichd status {uid}`)")
    paths = [file.path for file in _files(session, study.id)]
    owed = sum(
        session.scalar(select(func.count()).select_from(UploadRow).where(UploadRow.path.in_(batch))) or 0
        for batch in _batches(paths)
    )
    if owed:
        # Else one that is on its way would reach the bucket after its row has gone, and stay there.
        raise UserError(f"the bucket has not got {owed} images of study {uid} yet; `ichd bucket` says why")
    claimants = session.scalars(
        select(StudyRow.study_instance_uid)
        .join(ConflictRow, ConflictRow.study_id == StudyRow.id)
        .where(ConflictRow.instance_id.in_(_instances(study.id)), ConflictRow.study_id != study.id)
        .distinct()
    ).all()
    if claimants:
        raise UserError(
            f"other bytes under UIDs of study {uid} were kept as conflicts of {', '.join(claimants)}; forget that first"
        )


def _amounts(session: Session, study: StudyRow) -> Forgettable:
    here = []
    for table, of_study in _tables_of_files(study.id):
        counted = select(func.count(), func.coalesce(func.sum(table.size), 0)).where(of_study)
        here.append(session.execute(counted.where(table.dropped_at.is_(None))).one())
    destinations = select(ReceiptRow.destination).where(ReceiptRow.study_id == study.id).distinct()
    return Forgettable(
        study_uid=study.study_instance_uid,
        images=sum(count for count, _ in here),
        bytes=sum(int(size) for _, size in here),
        findings=_count(session, FindingRow.study_id == study.id),
        reviews=_count(session, ReviewRow.study_id == study.id),
        sent_to=tuple(session.scalars(destinations.order_by(ReceiptRow.destination))),
    )


def _drop(session: Session, study: StudyRow, found: Forgettable, now: datetime) -> None:
    """Write down that its files are dropped; the sweep deletes what we do not live to delete."""
    for table, of_study in _tables_of_files(study.id):
        gone = update(table).where(of_study, table.dropped_at.is_(None)).values(dropped_at=now)
        session.execute(gone, execution_options={"synchronize_session": False})
    if study.images_dropped_at is None:
        study.images_dropped_at = now
    if found.images:
        record_audit(
            session,
            at=now,
            event=AuditEvent.IMAGES_DROPPED,
            outcome=AuditOutcome.SUCCESS,
            actor=OURSELVES,  # who asked is named once all of it has gone
            subject={"study_instance_uid": found.study_uid, "instances": found.images, "why": "request"},
        )


def _remove_rows(session: Session, study: StudyRow) -> None:
    """All rows that name it, those first to which others refer last; associations carried other studies, too."""
    jobs = select(JobRow.id).where(JobRow.study_id == study.id)
    uid = study.study_instance_uid
    for table, condition in (
        (PromiseRow, PromiseRow.job_id.in_(jobs)),
        (ReceiptRow, ReceiptRow.study_id == study.id),
        (RenditionRow, RenditionRow.study_id == study.id),
        (ReviewRow, ReviewRow.study_id == study.id),
        (FindingRow, FindingRow.study_id == study.id),
        (JobRow, JobRow.study_id == study.id),
        (ConflictRow, ConflictRow.study_id == study.id),
        (InstanceRow, InstanceRow.id.in_(_instances(study.id))),
        (SeriesRow, SeriesRow.study_id == study.id),
        (ArrivalRow, ArrivalRow.study_id == study.id),
        (AnnouncementRow, AnnouncementRow.study_instance_uid == uid),
        (RefusalRow, RefusalRow.study_instance_uid == uid),
        (StudyRow, StudyRow.id == study.id),
    ):
        session.execute(delete(table).where(condition), execution_options={"synchronize_session": False})


def _files(session: Session, study_id: int) -> list[StoredFile]:
    return [
        StoredFile(path=path, sha256=sha256, size=size)
        for table, of_study in _tables_of_files(study_id)
        for path, sha256, size in session.execute(select(table.path, table.sha256, table.size).where(of_study))
    ]


def _has_images(session: Session, study_id: int) -> bool:
    return any(
        session.scalar(select(exists().where(of_study, table.dropped_at.is_(None))))
        for table, of_study in _tables_of_files(study_id)
    )


def _tables_of_files(study_id: int) -> Sequence[tuple[type[InstanceRow | ConflictRow], ColumnElement[bool]]]:
    """Each with the condition by which its rows are of the study."""
    return (
        (InstanceRow, InstanceRow.id.in_(_instances(study_id))),
        (ConflictRow, ConflictRow.study_id == study_id),
    )


def _instances(study_id: int) -> Select[int]:
    series = select(SeriesRow.id).where(SeriesRow.study_id == study_id)
    return select(InstanceRow.id).where(InstanceRow.series_id.in_(series))


def _batches(each: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (each[start : start + _BATCH] for start in range(0, len(each), _BATCH))


def _count(session: Session, condition: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).where(condition)) or 0
