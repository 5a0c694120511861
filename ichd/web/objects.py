"""What was sent about a study, to be read on a page and to be taken along."""

from io import BytesIO

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, Response
from pydicom import dcmread

from ichd.domain.delivery import SOP_CLASSES, ObjectKind
from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason
from ichd.domain.role import Role
from ichd.domain.wording import class_label, percent
from ichd.report.readable import ReadableReport, ReadableUnread, read_document
from ichd.store.history import History
from ichd.vision.parsed import PARSE_ERRORS
from ichd.web.api import is_uid
from ichd.web.journal import KIND_LABELS
from ichd.web.pages import Pages
from ichd.web.visitor import require
from ichd.web.words import presence_badge

_REPORTS = frozenset({ObjectKind.SR, ObjectKind.SR_COMPREHENSIVE, ObjectKind.SR_ENHANCED})
_MESSAGES = frozenset({ObjectKind.RESULT, ObjectKind.PRIORITY})


def objects_router(history: History, pages: Pages) -> APIRouter:
    """The routes."""
    router = APIRouter(include_in_schema=False)

    @router.get("/studies/{study_uid}/objects/{object_id}", response_class=HTMLResponse)
    def show_report(request: Request, study_uid: str, object_id: int) -> HTMLResponse:
        kind, content = _content(history, study_uid, object_id)
        if kind not in _REPORTS:
            raise HTTPException(404, "This is no Structured Report; the study's page lets you download it.")
        return pages.page(
            request,
            "report.html",
            study_uid=study_uid,
            object_id=object_id,
            kind=KIND_LABELS[kind],
            report=_readable(content),
            class_label=class_label,
            percent=percent,
            presence_badge=presence_badge,
        )

    # The objects name the patient, which the pages may not.
    @router.get("/studies/{study_uid}/objects/{object_id}/file", dependencies=[Depends(require(Role.OPERATOR))])
    def download_object(study_uid: str, object_id: int) -> Response:
        kind, content = _content(history, study_uid, object_id)
        suffix, media_type = _form(kind)
        name = f"{kind}-{object_id}{suffix}"
        return Response(
            content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
        )

    return router


def _content(history: History, study_uid: str, object_id: int) -> tuple[ObjectKind, bytes]:
    found = history.content(study_uid, object_id) if is_uid(study_uid) and 0 < object_id < 1 << 31 else None
    if found is None:
        raise HTTPException(404, "There is no such object; the study's page lists those there are.")
    return found


def _form(kind: ObjectKind) -> tuple[str, str]:
    if kind in SOP_CLASSES:
        return ".dcm", "application/dicom"
    return (".hl7", "text/plain") if kind in _MESSAGES else (".json", "application/json")


def _readable(content: bytes) -> ReadableReport | ReadableUnread:
    try:
        return read_document(dcmread(BytesIO(content)))
    except PARSE_ERRORS as error:
        raise Permanent(Reason.FILE_DAMAGED, "the Structured Report can't be parsed") from error
