"""Studies as JSON: the one shape of `ichd predict --json`, `ichd status --json` and `/api/studies`.

All of interface.md's keys are in every study, null or empty where nothing was read. Times are ISO 8601 in UTC.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from ichd.domain.finding import CLASSES
from ichd.domain.reason import Reason
from ichd.domain.record import Record
from ichd.store.listing import Conflict, Delivery, JobSummary, SeriesSummary, StudyDetail, StudySummary
from ichd.store.refusals import Refusal
from ichd.store.reviews import GivenReview


def reading_shape(record: Mapping[str, Any] | None) -> Record:
    """What was read of a study or series, in a record of any age; without a record nothing was."""
    unread: Record = {
        "study_uid": None,
        "series_uid": None,
        "state": None,
        "reason": None,
        "detail": "",
        "model": None,
        "classes": list(CLASSES),
        "scan": None,
        "presence": None,
        "slices": [],
        "triage": None,
        "skipped_series": [],
        "series_ranking": [],
        "notes": [],
        "remarks": [],
        "timings_ms": {},
    }
    return unread | dict(record or {})


def line_shape(summary: StudySummary) -> Record:
    """A line of the list.

    `triage` and `scan` are those of `finding_revision`, an earlier one than `revision` while late images are being
    read, or where they came after the others were dropped: an urgent study stays urgent meanwhile.
    """
    return {
        "study_uid": summary.study_uid,
        "accession_number": summary.accession_number,
        "state": str(summary.state),
        "revision": summary.revision,
        "finding_revision": summary.finding_revision,
        "series_count": summary.series,
        "images": summary.slices,
        "images_dropped": summary.dropped,
        "images_dropped_at": _iso(summary.images_dropped_at),
        "conflict_count": summary.conflicts,
        "triage": summary.triage and str(summary.triage),
        "scan": summary.scan and dict(summary.scan),
        **_why(summary.reason, summary.detail),
        "received_at": _iso(summary.received_at),
        "last_instance_at": _iso(summary.last_instance_at),
        "ready_at": _iso(summary.ready_at),
        "started_at": _iso(summary.started_at),
        "finished_at": _iso(summary.finished_at),
        "closing": summary.closing and str(summary.closing),
        "closing_detail": summary.closing_detail,
        "reviews": [review_shape(given) for given in summary.reviews],
        "jobs": [_job(job) for job in summary.jobs],
        "deliveries": [_delivery(d) for d in summary.deliveries],
    }


def study_shape(detail: StudyDetail) -> Record:
    """A study: what its present revision read, its line, and everything that the list leaves out.

    While `finding_revision` is an earlier revision, `triage` and `scan` are still that one's, as in the list; `model`,
    `slices` and the like are always the present revision's, so empty until then.
    """
    return {
        **reading_shape(detail.record),
        **line_shape(detail.summary),
        "series": [_series(s) for s in detail.series],
        "jobs": [_job(job) for job in detail.jobs],
        "deliveries": [_delivery(d) for d in detail.deliveries],
        "conflicts": [_conflict(c) for c in detail.conflicts],
        "refusals": [refusal_shape(r) for r in detail.refusals],
    }


def review_shape(given: GivenReview) -> Record:
    """What a reader says of the finding of a revision."""
    review = given.review
    return {
        "revision": given.revision,
        "agreement": str(review.agreement),
        "source": str(review.source),
        "reviewer": review.reviewer,
        "truth": dict(review.truth),
        "received_at": _iso(review.received_at),
    }


def refusal_shape(refusal: Refusal) -> Record:
    """An image that was turned away at the door."""
    return {
        **asdict(refusal),
        **_why(refusal.reason, refusal.detail),
        "refused_at": _iso(refusal.refused_at),
    }


def _job(job: JobSummary) -> Record:
    return {
        "kind": str(job.kind),
        "revision": job.revision,
        "destination": job.destination,
        "state": str(job.state),
        "attempt": job.attempt,
        "superseded": job.superseded,
        "run_at": _iso(job.run_at),
        "finished_at": _iso(job.finished_at),
        **_why(job.reason, job.detail),
    }


def _delivery(delivery: Delivery) -> Record:
    receipt = delivery.receipt
    return {
        "revision": delivery.revision,
        "destination": receipt.destination,
        "sent_at": _iso(receipt.sent_at),
        "status": receipt.status,
        "sop_class_uid": receipt.sop_class_uid,
        "sop_instance_uids": list(receipt.sop_instance_uids),
        "left_out": [str(kind) for kind in receipt.left_out],
        "proof": str(receipt.proof),
        "proved_at": receipt.proved_at and _iso(receipt.proved_at),
    }


def _series(series: SeriesSummary) -> Record:
    return {
        "series_uid": series.series_uid,
        "modality": series.modality,
        "series_number": series.series_number,
        "description": series.description,
        "images": series.slices,
        **_why(series.reason, series.detail),
    }


def _conflict(conflict: Conflict) -> Record:
    return {
        "sop_uid": conflict.sop_uid,
        "study_uid": conflict.study_uid,
        "sha256": conflict.sha256,
        "received_at": _iso(conflict.received_at),
    }


def _why(reason: Reason | None, detail: str) -> Record:
    return {
        "reason": reason and str(reason),
        "meaning": reason and reason.meaning,
        "detail": detail,
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
