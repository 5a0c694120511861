"""Retry and reprocess, by `/api` for programs and scripts, and by forms for browsers without them."""

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import RedirectResponse
from pydantic import BaseModel

from ichd.domain.errors import UserError
from ichd.domain.role import Role
from ichd.store.asker import Asker
from ichd.store.studies import Studies
from ichd.web.api import find_study
from ichd.web.visitor import Visitor, require

#: Who asks where nobody logs in: this machine's users.
_NOBODY = "loopback"
_RESPONSES: dict[int | str, dict[str, Any]] = {
    403: {"description": "The account is no operator."},
    404: {"description": "There is no such study."},
    409: {"description": "The study is not in a state for it; the sentence says why."},
}

Operator = Annotated[Visitor, Depends(require(Role.OPERATOR))]


class Retried(BaseModel):
    """What became of a retry."""

    study_uid: str
    #: How many jobs are due again.
    jobs: int


class Reprocessed(BaseModel):
    """A study that is in the queue again."""

    study_uid: str


def errands_router(studies: Studies, clock: Callable[[], datetime]) -> APIRouter:
    """The four routes."""
    router = APIRouter()

    def do_retry(request: Request, visitor: Visitor, study_uid: str) -> Retried:
        find_study(studies, study_uid)
        try:
            jobs = studies.retry(study_uid, now=clock(), asker=_asker(request, visitor))
        except UserError:
            sentence = "No job of this study failed or waits for another attempt: there is nothing to retry."
            raise HTTPException(HTTPStatus.CONFLICT, sentence) from None
        return Retried(study_uid=study_uid, jobs=jobs)

    def do_reprocess(request: Request, visitor: Visitor, study_uid: str) -> Reprocessed:
        find_study(studies, study_uid)
        try:
            studies.reprocess(study_uid, now=clock(), asker=_asker(request, visitor))
        except UserError as error:
            raise HTTPException(HTTPStatus.CONFLICT, f"It can't be read again: {error}.") from None
        return Reprocessed(study_uid=study_uid)

    @router.post(
        "/api/studies/{study_uid}/retry",
        summary="Try a study's failed jobs again, and those that wait, now",
        tags=["studies"],
        responses=_RESPONSES,
    )
    def retry(request: Request, study_uid: str, visitor: Operator) -> Retried:
        return do_retry(request, visitor, study_uid)

    @router.post(
        "/api/studies/{study_uid}/reprocess",
        summary="Have a finished study read again, as a new revision",
        tags=["studies"],
        responses=_RESPONSES,
    )
    def reprocess(request: Request, study_uid: str, visitor: Operator) -> Reprocessed:
        return do_reprocess(request, visitor, study_uid)

    @router.post("/studies/{study_uid}/retry", include_in_schema=False)
    def press_retry(request: Request, study_uid: str, visitor: Operator) -> RedirectResponse:
        do_retry(request, visitor, study_uid)
        return RedirectResponse(f"/studies/{study_uid}", HTTPStatus.SEE_OTHER)

    @router.post("/studies/{study_uid}/reprocess", include_in_schema=False)
    def press_reprocess(request: Request, study_uid: str, visitor: Operator) -> RedirectResponse:
        do_reprocess(request, visitor, study_uid)
        return RedirectResponse(f"/studies/{study_uid}", HTTPStatus.SEE_OTHER)

    return router


def _asker(request: Request, visitor: Visitor) -> Asker:
    return Asker(name=visitor.account or _NOBODY, address=request.client.host if request.client else "")
