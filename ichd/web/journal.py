"""What happened to a study, as plain values: jobs, moments, revisions, receipts, readers' words."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pydicom.uid import UID

from ichd.domain.delivery import ObjectKind, Proof
from ichd.domain.job import JobKind
from ichd.domain.review import Agreement, ReviewSource
from ichd.domain.wording import percent
from ichd.store.history import SentObject
from ichd.store.listing import Delivery, JobSummary, StudySummary
from ichd.store.reviews import GivenReview
from ichd.store.revisions import Revision
from ichd.web.words import Badge, agreement_words, badge_of, duration, truth_words
from ichd.web.worklist import Why, why


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
class RevisionLine:
    """What a revision came to."""

    revision: Revision
    #: None where nothing was read.
    badge: Badge | None
    any_haemorrhage: str
    why: Why | None


@dataclass(frozen=True, kw_only=True)
class ReceiptLine:
    """Proof of a delivery."""

    revision: int
    destination: str
    sent_at: datetime
    #: What was taken: the SOP class of the report, or that it was a message.
    what: str
    status: str
    proof: str
    proved_at: datetime | None
    left_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ObjectLine:
    """An object or message that was rendered."""

    sent: SentObject
    label: str
    size: str


_BY = {
    ReviewSource.API: "on this page or by its API",
    ReviewSource.KEY_OBJECT: "by a key object",
    ReviewSource.HL7: "by an HL7 message",
}

_PROOF = {Proof.SENT: "acknowledged", Proof.READ_BACK: "found there by a query", Proof.COMMITTED: "committed to"}

#: What people call what is sent.
KIND_LABELS = {
    ObjectKind.SR: "Structured Report",
    ObjectKind.SR_COMPREHENSIVE: "Structured Report (Comprehensive)",
    ObjectKind.SR_ENHANCED: "Structured Report (Enhanced)",
    ObjectKind.KO: "Key Object Selection",
    ObjectKind.SC: "Summary page",
    ObjectKind.HEAT: "Heat map",
    ObjectKind.PARAMETRIC: "Heat maps as numbers",
    ObjectKind.GSPS: "Presentation state",
    ObjectKind.RESULT: "HL7 result",
    ObjectKind.PRIORITY: "HL7 priority request",
    ObjectKind.JSON: "JSON message",
    ObjectKind.JSON_IDENTIFIED: "JSON message with the patient",
}


def review_line(given: GivenReview) -> ReviewLine:
    """A reader's word."""
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


def job_line(job: JobSummary) -> JobLine:
    """A job."""
    what = "read the images" if job.kind is JobKind.ANALYSE else f"deliver to {job.destination}"
    state = "superseded by a newer revision" if job.superseded else str(job.state)
    return JobLine(what=what, job=job, state=state, why=why(job.reason, job.detail))


def steps(summary: StudySummary) -> tuple[Step, ...]:
    """The moments of the present revision."""
    moments = (
        ("First image", summary.received_at),
        ("Last image", summary.last_instance_at),
        ("Complete", summary.ready_at),
        ("Finished", summary.finished_at),
    )
    told: list[Step] = []
    for label, at in moments:
        if at is not None:
            after = duration(at - told[-1].at) if told else ""
            told.append(Step(label=label, at=at, after=after))
    return tuple(told)


def closing(summary: StudySummary) -> str | None:
    """Why the study was taken as complete."""
    if summary.closing is None:
        return None
    numbers = f" ({summary.closing_detail})" if summary.closing_detail else ""
    return f"{summary.closing.meaning}{numbers}"


def revision_lines(revisions: Iterable[Revision], summary: StudySummary) -> tuple[RevisionLine, ...]:
    """The newest first."""
    return tuple(
        RevisionLine(
            revision=each,
            badge=None if each.triage is None else badge_of(each.triage, summary.state),
            any_haemorrhage="" if each.scan is None else percent(each.scan["any"]),
            why=why(each.reason, each.detail),
        )
        for each in sorted(revisions, key=lambda each: -each.number)
    )


def receipt_lines(deliveries: Iterable[Delivery]) -> tuple[ReceiptLine, ...]:
    """The newest first."""
    return tuple(
        ReceiptLine(
            revision=each.revision,
            destination=each.receipt.destination,
            sent_at=each.receipt.sent_at,
            what=UID(each.receipt.sop_class_uid).name if each.receipt.sop_class_uid else "message",
            status=each.receipt.status,
            proof=_PROOF[each.receipt.proof],
            proved_at=each.receipt.proved_at,
            left_out=tuple(KIND_LABELS[kind] for kind in each.receipt.left_out),
        )
        for each in sorted(deliveries, key=lambda each: each.receipt.sent_at, reverse=True)
    )


def object_lines(objects: Iterable[SentObject]) -> tuple[ObjectLine, ...]:
    """In their order."""
    objects = tuple(objects)
    several = {(o.revision, o.kind) for o in objects if o.number > 1}
    return tuple(
        ObjectLine(
            sent=each,
            label=KIND_LABELS[each.kind] + (f" {each.number}" if (each.revision, each.kind) in several else ""),
            size=_size(each.size),
        )
        for each in objects
    )


def _size(size: int) -> str:
    """`3.9 MB`, as files are told elsewhere."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(size / 1e3, 0.1):.1f} KB"
