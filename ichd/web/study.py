"""The study page as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ichd.domain.finding import Finding
from ichd.store.history import SentObject
from ichd.store.listing import SeriesSummary, StudyDetail
from ichd.store.revisions import Revision
from ichd.web.finding import Reading, reading_of
from ichd.web.heatmaps import HeatSection
from ichd.web.journal import (
    JobLine,
    ObjectLine,
    ReceiptLine,
    ReviewLine,
    RevisionLine,
    Step,
    closing,
    job_line,
    object_lines,
    receipt_lines,
    review_line,
    revision_lines,
    steps,
)
from ichd.web.viewing.stacks import Stack, stack_of_reading
from ichd.web.worklist import DeliveryLine, StudyLine, Why, delivery_lines, study_line, why


@dataclass(frozen=True, kw_only=True)
class SeriesLine:
    """A series, and why it was not read, if it was not."""

    series: SeriesSummary
    was_read: bool
    why: Why | None

    @property
    def label(self) -> str:
        """How a person calls it."""
        number = "" if self.series.series_number is None else f"{self.series.series_number} · "
        return f"{number}{self.series.description or 'no description'}"


@dataclass(frozen=True, kw_only=True)
class StudyPage:
    """All of the page."""

    line: StudyLine
    #: In words; None where all images are here.
    images_gone: str | None
    #: Whether any image is left to look at.
    has_images: bool
    reading: Reading | None
    #: What the viewer opens with; None where nothing was read.
    stack: Stack | None
    heat: HeatSection
    #: Newest first.
    reviews: tuple[ReviewLine, ...]
    series: tuple[SeriesLine, ...]
    jobs: tuple[JobLine, ...]
    deliveries: tuple[DeliveryLine, ...]
    receipts: tuple[ReceiptLine, ...]
    revisions: tuple[RevisionLine, ...]
    objects: tuple[ObjectLine, ...]
    steps: tuple[Step, ...]
    closing: str | None
    conflicts: tuple[tuple[str, datetime], ...]


def study_page(
    detail: StudyDetail,
    now: datetime,
    *,
    finding: Finding | None,
    heat: HeatSection,
    revisions: Sequence[Revision],
    objects: Sequence[SentObject],
) -> StudyPage:
    """The page of one study; `finding` is that of the present revision."""
    summary = detail.summary
    present_jobs = [job for job in detail.jobs if job.revision == summary.revision]
    present = [d for d in detail.deliveries if d.revision == summary.revision]
    read_series = finding.prediction.series_instance_uid if finding else None
    return StudyPage(
        line=study_line(summary, now),
        images_gone=summary.images_gone,
        has_images=summary.dropped < summary.slices,
        reading=reading_of(finding) if finding else None,
        stack=stack_of_reading(finding, heat.lines) if finding else None,
        heat=heat,
        reviews=tuple(review_line(given) for given in reversed(summary.reviews)),
        series=tuple(
            SeriesLine(series=s, was_read=s.series_uid == read_series, why=why(s.reason, s.detail))
            for s in detail.series
        ),
        jobs=tuple(job_line(job) for job in detail.jobs),
        deliveries=delivery_lines(present_jobs, present, now),
        receipts=receipt_lines(detail.deliveries),
        revisions=revision_lines(revisions, summary),
        objects=object_lines(objects),
        steps=steps(summary),
        closing=closing(summary),
        conflicts=tuple((c.sop_uid, c.received_at) for c in detail.conflicts),
    )
