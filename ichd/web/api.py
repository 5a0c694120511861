"""`/api`: the same facts as JSON. The shape of one study is the one that `ichd predict --json` prints."""

import re
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query

from ichd.domain.errors import UserError
from ichd.domain.record import Record, unread_record
from ichd.domain.study import StudyState
from ichd.store.arrivals import Arrivals
from ichd.store.listing import Delivery, JobSummary, StudyDetail, StudySummary
from ichd.store.studies import Studies

#: PS3.5 9.1. Whatever is no UID can't be a study, and need not reach the database.
_UID = re.compile(r"[0-9.]{1,64}")


def api_router(studies: Studies, arrivals: Arrivals) -> APIRouter:
    """The routes of `/api`."""
    router = APIRouter(prefix="/api", tags=["studies"])

    @router.get("/studies", summary="The studies that arrived last, newest first")
    def list_studies(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100, state: StudyState | None = None
    ) -> list[dict[str, Any]]:
        return [summary_record(s) for s in studies.summaries(limit=limit, state=state)]

    @router.get("/studies/{study_uid}", summary="All that is known of one study")
    def show_study(study_uid: str) -> Record:
        return detail_record(find_study(studies, study_uid))

    @router.get("/refusals", summary="Images that were turned away at the door, newest first")
    def list_refusals(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
        return [asdict(refusal) | {"meaning": refusal.reason.meaning} for refusal in arrivals.refusals(limit=limit)]

    return router


def find_study(studies: Studies, study_uid: str) -> StudyDetail:
    """The study under a UID that came with a request.

    Raises:
        HTTPException: 404, there is none.
    """
    if _UID.fullmatch(study_uid):
        try:
            return studies.detail(study_uid)
        except UserError:
            pass
    raise HTTPException(404, "There is no study with this Study Instance UID; /api/studies lists the newest ones.")


def summary_record(summary: StudySummary) -> Record:
    """A line of the list."""
    return {
        "study_uid": summary.study_uid,
        "accession_number": summary.accession_number,
        "state": summary.state,
        "revision": summary.revision,
        "finding_revision": summary.finding_revision,
        "series": summary.series,
        "images": summary.slices,
        "conflicts": summary.conflicts,
        "triage": summary.triage,
        "scan": summary.scan,
        "reason": summary.reason,
        "meaning": summary.reason.meaning if summary.reason else None,
        "detail": summary.detail,
        "received_at": summary.received_at,
        "last_instance_at": summary.last_instance_at,
        "ready_at": summary.ready_at,
        "finished_at": summary.finished_at,
        "closing": summary.closing,
        "jobs": [_job_record(job) for job in summary.jobs],
        "receipts": [_receipt_record(d) for d in summary.deliveries],
    }


def detail_record(detail: StudyDetail) -> Record:
    """The stored record, or the same shape without scores; the rest of what is known stands beside it."""
    summary = detail.summary
    record = detail.record or unread_record(
        study_uid=summary.study_uid, series_uid=None, state=summary.state, reason="", detail="", skipped=()
    )
    known = {
        "state": summary.state,
        "reason": summary.reason,
        "meaning": summary.reason.meaning if summary.reason else None,
        "detail": summary.detail,
        "accession_number": summary.accession_number,
        "revision": summary.revision,
        "received_at": summary.received_at,
        "last_instance_at": summary.last_instance_at,
        "ready_at": summary.ready_at,
        "finished_at": summary.finished_at,
        "closing": summary.closing,
        "series": [
            {
                "series_uid": s.series_uid,
                "modality": s.modality,
                "series_number": s.series_number,
                "description": s.description,
                "images": s.slices,
                "reason": s.reason,
                "detail": s.detail,
            }
            for s in detail.series
        ],
        "jobs": [_job_record(job) for job in detail.jobs],
        "receipts": [_receipt_record(d) for d in detail.deliveries],
        "conflicts": [{"sop_uid": c.sop_uid, "received_at": c.received_at} for c in detail.conflicts],
    }
    return record | known


def _job_record(job: JobSummary) -> Record:
    return {
        "kind": job.kind,
        "revision": job.revision,
        "destination": job.destination,
        "state": job.state,
        "attempt": job.attempt,
        "superseded": job.superseded,
        "run_at": job.run_at,
        "finished_at": job.finished_at,
        "reason": job.reason,
        "detail": job.detail,
    }


def _receipt_record(delivery: Delivery) -> Record:
    receipt = delivery.receipt
    return {
        "revision": delivery.revision,
        "destination": receipt.destination,
        "sent_at": receipt.sent_at,
        "status": receipt.status,
        "sop_class_uid": receipt.sop_class_uid,
        "sop_instance_uids": receipt.sop_instance_uids,
    }
