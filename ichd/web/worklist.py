"""The worklist page as plain values: what a line shows, and which line comes first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ichd.domain.delivery import Proof, Receipt
from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.domain.study import FINISHED
from ichd.domain.wording import class_label, percent
from ichd.store.listing import Delivery, JobSummary, StudySummary
from ichd.store.refusals import Refusal
from ichd.web.words import Badge, age, badge_of, short_uid, state_words


@dataclass(frozen=True, kw_only=True)
class Score:
    """A scan-level probability for a bar."""

    label: str
    probability: float

    @property
    def text(self) -> str:
        """In percent."""
        return percent(self.probability)


@dataclass(frozen=True, kw_only=True)
class Why:
    """A coded reason with its meaning, and the numbers behind it."""

    code: str
    meaning: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class DeliveryLine:
    """One destination of the present report."""

    destination: str
    #: Class name in ichd.css: done, waiting or failed.
    tone: str
    symbol: str
    text: str
    #: When the destination acknowledged the report.
    sent_at: datetime | None
    why: Why | None


@dataclass(frozen=True, kw_only=True)
class StudyLine:
    """One study."""

    study_uid: str
    short_uid: str
    accession: str
    badge: Badge
    state: str
    any_haemorrhage: Score | None
    #: The most probable of the five kinds.
    top_kind: Score | None
    #: The scores are an earlier revision's, because late images are being read.
    outdated_revision: int | None
    revision: int
    images: int
    conflicts: int
    received_at: datetime
    age: str
    why: Why | None
    deliveries: tuple[DeliveryLine, ...]
    #: A job of it is dead, or waits for its next attempt.
    can_retry: bool
    #: It is finished, and its images are here.
    can_reprocess: bool


@dataclass(frozen=True, kw_only=True)
class RefusalLine:
    """An image that was turned away at the door."""

    age: str
    refused_at: datetime
    #: AE title as the sender claims it, and its address.
    sender: str
    why: Why


def study_line(summary: StudySummary, now: datetime) -> StudyLine:
    """One line."""
    scan = summary.scan
    kinds = [] if scan is None else [Score(label=class_label(k), probability=p) for k, p in scan.items() if k != "any"]
    # Of a revision that was not read there are no scores that later images could outdate.
    outdated = scan is not None and summary.finding_revision is not None and summary.finding_revision < summary.revision
    return StudyLine(
        study_uid=summary.study_uid,
        short_uid=short_uid(summary.study_uid),
        accession=summary.accession_number,
        badge=badge_of(summary.triage, summary.state),
        state=state_words(summary.state, has_finding=scan is not None and not outdated),
        any_haemorrhage=None if scan is None else Score(label=class_label("any"), probability=scan["any"]),
        top_kind=max(kinds, key=lambda k: k.probability, default=None),
        outdated_revision=summary.finding_revision if outdated else None,
        revision=summary.revision,
        images=summary.slices,
        conflicts=summary.conflicts,
        received_at=summary.received_at,
        age=age(summary.received_at, now),
        why=why(summary.reason, summary.detail),
        deliveries=delivery_lines(summary.jobs, summary.deliveries, now),
        can_retry=any(_can_retry(job) for job in summary.jobs),
        can_reprocess=summary.state in FINISHED and summary.images_dropped_at is None,
    )


def why(reason: Reason | None, detail: str) -> Why | None:
    """A reason for people, None where there is none."""
    return None if reason is None else Why(code=str(reason), meaning=reason.meaning, detail=detail)


def delivery_lines(
    jobs: Sequence[JobSummary], deliveries: Sequence[Delivery], now: datetime
) -> tuple[DeliveryLine, ...]:
    """Where each destination stands; a job without a receipt says what it waits for."""
    receipts = {d.receipt.destination: d.receipt for d in deliveries}
    lines = []
    for job in jobs:
        if job.kind is not JobKind.PUBLISH or job.destination is None or job.superseded:
            continue
        receipt = receipts.get(job.destination)
        tone, symbol, text = _standing(job, receipt, now)
        lines.append(
            DeliveryLine(
                destination=job.destination,
                tone=tone,
                symbol=symbol,
                text=text,
                sent_at=receipt.sent_at if receipt else None,
                why=why(job.reason, job.detail) if receipt is None or job.state is JobState.DEAD else None,
            )
        )
    return tuple(lines)


_PROVED = {Proof.SENT: "", Proof.READ_BACK: ", listed there", Proof.COMMITTED: ", committed to"}


def _standing(job: JobSummary, receipt: Receipt | None, now: datetime) -> tuple[str, str, str]:
    """Tone, symbol and words of one delivery."""
    if receipt is not None:
        received = f"received {age(receipt.sent_at, now)} ago"
        if job.state is JobState.DEAD:
            return "failed", "✕", f"{received}, never confirmed"
        if job.state is not JobState.DONE:
            return "waiting", "…", f"{received}, confirmation awaited"
        without = f", without {', '.join(receipt.left_out)}" if receipt.left_out else ""
        return "done", "✓", f"{received}{_PROVED[receipt.proof]}{without}"
    if job.state is JobState.DEAD:
        return "failed", "✕", "not delivered"
    if job.reason is not None:
        return "waiting", "…", f"attempt {job.attempt} failed, retries by itself"
    return "waiting", "…", "on its way"


def refusal_lines(refusals: Iterable[Refusal], now: datetime) -> list[RefusalLine]:
    """Refused images, in the order given."""
    return [
        RefusalLine(
            age=age(r.refused_at, now),
            refused_at=r.refused_at,
            sender=f"{r.calling_ae_title} at {r.address}",
            why=Why(code=str(r.reason), meaning=r.reason.meaning, detail=r.detail),
        )
        for r in refusals
    ]


def _can_retry(job: JobSummary) -> bool:
    waits = job.state is JobState.QUEUED and job.reason is not None
    return not job.superseded and (job.state is JobState.DEAD or waits)
