"""Studies as people look at them: lines of a list, and all that is known of one."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, or_, select
from sqlalchemy.orm import Session

from ichd.domain.completeness import Closing
from ichd.domain.delivery import Receipt
from ichd.domain.errors import UserError
from ichd.domain.finding import Triage
from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.domain.record import Record
from ichd.domain.study import StudyState
from ichd.store.among import among
from ichd.store.conflicts import Conflict, conflict_counts, conflicts_of
from ichd.store.contents import StoredImage, images_of, select_finding, study_facts
from ichd.store.image_counts import image_counts
from ichd.store.receipts import RECEIPT_COLUMNS, receipt_of
from ichd.store.refusals import Refusal, latest_refusals
from ichd.store.reviews import GivenReview, reviews_of
from ichd.store.tables import FindingRow, JobRow, ReceiptRow, StudyRow
from ichd.store.transaction import reading

__all__ = [
    "Conflict",
    "Delivery",
    "JobSummary",
    "SeriesSummary",
    "StudyDetail",
    "StudySummary",
    "study_detail",
    "study_summaries",
    "summaries_of",
]

#: Of one study, that are shown.
_REFUSALS = 100


@dataclass(frozen=True, kw_only=True)
class JobSummary:
    """A job of a study."""

    kind: JobKind
    revision: int
    destination: str | None
    state: JobState
    attempt: int
    superseded: bool
    run_at: datetime
    created_at: datetime
    finished_at: datetime | None
    #: The last error, None where there was none.
    reason: Reason | None
    detail: str


# Columns and no rows of the object mapper: a line of a list has a dozen of them, and they took most of its time.
_JOB_FIELDS = tuple(field.name for field in fields(JobSummary))
_JOB_COLUMNS = tuple(getattr(JobRow, name) for name in _JOB_FIELDS)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A receipt, and the revision that it is for."""

    revision: int
    receipt: Receipt


@dataclass(frozen=True, kw_only=True)
class SeriesSummary:
    """A series of a study; why it was not read, if it was not."""

    series_uid: str
    modality: str
    series_number: int | None
    description: str
    slices: int
    reason: Reason | None
    detail: str


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """A line of a list."""

    study_uid: str
    accession_number: str
    study_datetime: str
    state: StudyState
    revision: int
    series: int
    slices: int
    conflicts: int
    #: How many of the slices are not here any more, and since when.
    dropped: int
    images_dropped_at: datetime | None
    #: Newest revision that came to a finding: an earlier one than `revision` while a late slice is being read, or where
    #: it came after the images were dropped. Triage and scan are that one's, so that an urgent study stays urgent in
    #: the list meanwhile.
    finding_revision: int | None
    triage: Triage | None
    scan: Mapping[str, float] | None
    reason: Reason | None
    detail: str
    received_at: datetime
    last_instance_at: datetime
    ready_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    closing: Closing | None
    #: The numbers behind it, for people.
    closing_detail: str
    #: What readers say of any revision, oldest first.
    reviews: tuple[GivenReview, ...]
    #: Of the present revision.
    jobs: tuple[JobSummary, ...]
    deliveries: tuple[Delivery, ...]

    @property
    def images_gone(self) -> str | None:
        """What is to be said of images that are not here any more; None where all are."""
        if self.images_dropped_at is None:
            return None
        which = "all of them" if self.dropped == self.slices else f"{self.dropped} of them"
        return f"{which} dropped on {self.images_dropped_at:%Y-%m-%d}"


@dataclass(frozen=True, kw_only=True)
class StudyDetail:
    """All that is known of one study."""

    summary: StudySummary
    #: What the present revision came to, None before that; its `state` is the study's present one.
    record: Record | None
    series: tuple[SeriesSummary, ...]
    #: Of all revisions, in the order of their making.
    jobs: tuple[JobSummary, ...]
    deliveries: tuple[Delivery, ...]
    conflicts: tuple[Conflict, ...]
    #: The latest, as far as their headers could be read; an image may have come well since.
    refusals: tuple[Refusal, ...]


def study_summaries(engine: Engine, *, limit: int, state: StudyState | None) -> list[StudySummary]:
    """The studies that arrived last, newest first: a handful of queries, however many studies there are."""
    statement = select(StudyRow).order_by(StudyRow.received_at.desc(), StudyRow.id.desc()).limit(limit)
    if state is not None:
        statement = statement.where(StudyRow.state == state)
    with reading(engine) as session:
        return summaries_of(session, session.scalars(statement).all())


def study_detail(engine: Engine, study_uid: str) -> StudyDetail:
    """All that is known of one study.

    Raises:
        UserError: the study is unknown.
    """
    with reading(engine) as session:
        study = session.scalars(select(StudyRow).where(StudyRow.study_instance_uid == study_uid)).one_or_none()
        if study is None:
            raise UserError(f"no study {study_uid} is known; `ichd status` lists them")
        finding = session.scalars(select_finding(study.id, study.revision)).one_or_none()
        record = finding.record | {"state": str(study.state)} if finding else None
        jobs = session.execute(select(*_JOB_COLUMNS).where(JobRow.study_id == study.id).order_by(JobRow.id))
        return StudyDetail(
            summary=summaries_of(session, [study])[0],
            record=record,
            series=_series(study_uid, images_of(session, study.id), record),
            jobs=tuple(map(_job, jobs)),
            deliveries=tuple(_deliveries(session, [study.id])[study.id]),
            conflicts=tuple(conflicts_of(session, study.id)),
            refusals=tuple(latest_refusals(session, limit=_REFUSALS, study_instance_uid=study_uid)),
        )


def summaries_of(session: Session, studies: Sequence[StudyRow]) -> list[StudySummary]:
    """Their lines, in their order."""
    ids = [study.id for study in studies]
    counts = image_counts(session, ids)
    conflicts = conflict_counts(session, ids)
    findings = _newest_findings(session, ids)
    reviews = reviews_of(session, ids)
    jobs = _present_jobs(session, ids)
    deliveries = _deliveries(session, ids)
    return [
        StudySummary(
            study_uid=study.study_instance_uid,
            accession_number=study.accession_number,
            study_datetime=study.study_datetime,
            state=study.state,
            revision=study.revision,
            series=counts[study.id].series,
            slices=counts[study.id].slices,
            conflicts=conflicts[study.id],
            dropped=counts[study.id].dropped,
            images_dropped_at=counts[study.id].dropped_at,
            finding_revision=finding.revision if finding else None,
            triage=finding.triage if finding else None,
            scan=finding.scan if finding else None,
            reason=study.reason,
            detail=study.detail,
            received_at=study.received_at,
            last_instance_at=study.last_instance_at,
            ready_at=study.ready_at,
            started_at=study.started_at,
            finished_at=study.finished_at,
            closing=study.closing,
            closing_detail=study.closing_detail,
            reviews=tuple(reviews[study.id]),
            jobs=tuple(jobs[study.id]),
            deliveries=tuple(d for d in deliveries[study.id] if d.revision == study.revision),
        )
        for study in studies
        for finding in [findings.get(study.id)]
    ]


def _newest_findings(session: Session, ids: Sequence[int]) -> Mapping[int, Row[Any]]:
    """Revision, triage and scan by study id."""
    # That the images were dropped is no news of the patient: what was found in them stands.
    news = or_(FindingRow.triage.is_not(None), FindingRow.record["reason"].as_string() != str(Reason.IMAGES_DROPPED))
    wanted = select(FindingRow.study_id, FindingRow.revision, FindingRow.triage, FindingRow.scan)
    statement = wanted.where(among(session, FindingRow.study_id, ids), news).order_by(FindingRow.revision)
    return {finding.study_id: finding for finding in session.execute(statement)}


def _present_jobs(session: Session, ids: Sequence[int]) -> Mapping[int, list[JobSummary]]:
    statement = (
        select(JobRow.study_id, *_JOB_COLUMNS)
        .join(StudyRow, JobRow.study_id == StudyRow.id)
        .where(among(session, StudyRow.id, ids), JobRow.revision == StudyRow.revision)
        .order_by(JobRow.id)
    )
    jobs: dict[int, list[JobSummary]] = defaultdict(list)
    for study_id, *values in session.execute(statement):
        jobs[study_id].append(_job(values))
    return jobs


def _deliveries(session: Session, ids: Sequence[int]) -> Mapping[int, list[Delivery]]:
    deliveries: dict[int, list[Delivery]] = defaultdict(list)
    wanted = select(ReceiptRow.study_id, ReceiptRow.revision, *RECEIPT_COLUMNS)
    for row in session.execute(wanted.where(among(session, ReceiptRow.study_id, ids)).order_by(ReceiptRow.id)):
        deliveries[row.study_id].append(Delivery(revision=row.revision, receipt=receipt_of(row)))
    return deliveries


def _series(study_uid: str, images: Sequence[StoredImage], record: Record | None) -> tuple[SeriesSummary, ...]:
    skipped: dict[str, dict[str, Any]] = {s["series_uid"]: s for s in record["skipped_series"]} if record else {}
    summaries = []
    for series in study_facts(study_uid, images).series:
        first = series.instances[0]
        skip = skipped.get(series.series_instance_uid)
        summaries.append(
            SeriesSummary(
                series_uid=series.series_instance_uid,
                modality=first.modality,
                series_number=first.series_number,
                description=first.series_description,
                slices=len(series.instances),
                reason=Reason(skip["reason"]) if skip else None,
                detail=skip["detail"] if skip else "",
            )
        )
    return tuple(summaries)


def _job(values: Sequence[Any]) -> JobSummary:
    """Of the values of `_JOB_COLUMNS`."""
    return JobSummary(**dict(zip(_JOB_FIELDS, values, strict=True)))
