"""The study page as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ichd.domain.finding import CLASSES, ClassFinding, Finding, ModelIdentity
from ichd.domain.job import JobKind
from ichd.domain.record import Record, finding_of
from ichd.domain.review import Agreement, ReviewSource
from ichd.domain.wording import class_label, meaning_of_probabilities, percent
from ichd.store.listing import JobSummary, SeriesSummary, StudyDetail, StudySummary
from ichd.store.reviews import GivenReview
from ichd.web.words import Badge, agreement_words, duration, presence_badge, timing, truth_words
from ichd.web.worklist import DeliveryLine, StudyLine, Why, delivery_lines, study_line, why

#: Height of the strip of slice probabilities, in units of its own viewBox; a slice is one unit wide.
STRIP_HEIGHT = 20


@dataclass(frozen=True, kw_only=True)
class KeySlice:
    """A slice that carries a finding."""

    #: Counted from 1 at the most inferior slice.
    number: int
    z_mm: float
    text: str
    sop_uid: str
    #: Of a multi-frame image, counted from 1; None where the image is the slice.
    frame_number: int | None


@dataclass(frozen=True, kw_only=True)
class ClassLine:
    """One kind of haemorrhage in the findings table."""

    label: str
    probability: float
    text: str
    badge: Badge
    present_from: float
    absent_below: float
    key_slices: tuple[KeySlice, ...]
    #: SVG path of the probability over the slices, inferior to superior from left to right.
    strip: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the model said about the series that was read."""

    model: ModelIdentity
    series_uid: str
    slices: int
    #: What the scan's probabilities mean.
    meaning: str
    classes: tuple[ClassLine, ...]
    timings: tuple[tuple[str, str], ...]
    #: What was peculiar about the series and did not keep it from being read.
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SeriesLine:
    """A series, and why it was not read, if it was not."""

    series: SeriesSummary
    was_read: bool
    why: Why | None


@dataclass(frozen=True, kw_only=True)
class JobLine:
    """A job and its last error."""

    what: str
    job: JobSummary
    state: str
    why: Why | None


@dataclass(frozen=True, kw_only=True)
class Step:
    """A moment in the study's life, and how long after the one before it came."""

    label: str
    at: datetime
    after: str


@dataclass(frozen=True, kw_only=True)
class ReviewLine:
    """What a reader says."""

    #: Class name in ichd.css: done or failed.
    tone: str
    agreement: str
    truth: str
    reviewer: str
    source: str
    revision: int
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """All of the page."""

    line: StudyLine
    #: In words; None where all images are here.
    images_gone: str | None
    reading: Reading | None
    #: Newest first.
    reviews: tuple[ReviewLine, ...]
    series: tuple[SeriesLine, ...]
    jobs: tuple[JobLine, ...]
    deliveries: tuple[DeliveryLine, ...]
    earlier_receipts: tuple[tuple[int, str, datetime], ...]
    steps: tuple[Step, ...]
    closing: str | None
    conflicts: tuple[tuple[str, datetime], ...]


def study_page(detail: StudyDetail, now: datetime) -> StudyPage:
    """The page of one study."""
    summary, record = detail.summary, detail.record
    present_jobs = [job for job in detail.jobs if job.revision == summary.revision]
    present = [d for d in detail.deliveries if d.revision == summary.revision]
    read_series = record["series_uid"] if record and record["scan"] is not None else None
    return StudyPage(
        line=study_line(summary, now),
        images_gone=summary.images_gone,
        reading=_reading(record) if record and read_series else None,
        reviews=tuple(_review_line(given) for given in reversed(summary.reviews)),
        series=tuple(
            SeriesLine(series=s, was_read=s.series_uid == read_series, why=why(s.reason, s.detail))
            for s in detail.series
        ),
        jobs=tuple(_job_line(job) for job in detail.jobs),
        deliveries=delivery_lines(present_jobs, present, now),
        earlier_receipts=tuple(
            (d.revision, d.receipt.destination, d.receipt.sent_at)
            for d in detail.deliveries
            if d.revision != summary.revision
        ),
        steps=_steps(summary),
        closing=_closing(summary),
        conflicts=tuple((c.sop_uid, c.received_at) for c in detail.conflicts),
    )


def _closing(summary: StudySummary) -> str | None:
    if summary.closing is None:
        return None
    numbers = f" ({summary.closing_detail})" if summary.closing_detail else ""
    return f"{summary.closing.meaning}{numbers}"


def _reading(record: Record) -> Reading:
    finding = finding_of(record)
    prediction = finding.prediction
    return Reading(
        model=prediction.model,
        series_uid=prediction.series_instance_uid,
        slices=len(prediction.slices),
        meaning=meaning_of_probabilities(finding),
        classes=tuple(_class_line(finding, c) for c in finding.classes),
        timings=tuple(timing(name, ms) for name, ms in prediction.timings_ms.items()),
        notes=tuple(map(str, prediction.notes)),
    )


def _class_line(finding: Finding, found: ClassFinding) -> ClassLine:
    index = CLASSES.index(found.name)
    numbers = {(s.sop_instance_uid, s.frame_number): n for n, s in enumerate(finding.prediction.slices, start=1)}
    return ClassLine(
        label=class_label(found.name),
        probability=found.probability,
        text=percent(found.probability),
        badge=presence_badge(found.presence),
        present_from=found.threshold.present_from,
        absent_below=found.threshold.absent_below,
        key_slices=tuple(
            KeySlice(
                number=numbers[s.sop_instance_uid, s.frame_number],
                z_mm=s.z_mm,
                text=percent(s.probabilities[index]),
                sop_uid=s.sop_instance_uid,
                frame_number=s.frame_number,
            )
            for s in found.key_slices
        ),
        strip=strip_path([s.probabilities[index] for s in finding.prediction.slices]),
    )


def strip_path(probabilities: Sequence[float]) -> str:
    """A staircase over the slices, closed along the bottom: one path, however many slices there are."""
    stairs = "".join(f"V{(1 - p) * STRIP_HEIGHT:.2f}h1" for p in probabilities)
    return f"M0 {STRIP_HEIGHT}{stairs}V{STRIP_HEIGHT}Z"


_BY = {
    ReviewSource.API: "on this page or by its API",
    ReviewSource.KEY_OBJECT: "by a key object",
    ReviewSource.HL7: "by an HL7 message",
}


def _review_line(given: GivenReview) -> ReviewLine:
    review = given.review
    return ReviewLine(
        tone="done" if review.agreement is Agreement.AGREED else "failed",
        agreement=agreement_words(review.agreement),
        truth=truth_words(review.truth),
        reviewer=review.reviewer or "somebody",
        source=_BY[review.source],
        revision=given.revision,
        received_at=review.received_at,
    )


def _job_line(job: JobSummary) -> JobLine:
    what = "read the images" if job.kind is JobKind.ANALYSE else f"deliver to {job.destination}"
    state = "superseded by a newer revision" if job.superseded else str(job.state)
    return JobLine(what=what, job=job, state=state, why=why(job.reason, job.detail))


def _steps(summary: StudySummary) -> tuple[Step, ...]:
    moments = (
        ("First image", summary.received_at),
        ("Last image", summary.last_instance_at),
        ("Complete", summary.ready_at),
        ("Finished", summary.finished_at),
    )
    steps: list[Step] = []
    for label, at in moments:
        if at is not None:
            after = duration(at - steps[-1].at) if steps else ""
            steps.append(Step(label=label, at=at, after=after))
    return tuple(steps)
