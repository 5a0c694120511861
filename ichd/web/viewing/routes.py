"""The addresses that the slice viewer asks: the stack of a series, and each of its slices as numbers."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response, StreamingResponse

from ichd.domain.record import Record
from ichd.domain.role import Role
from ichd.store.catalogue import Catalogue, CataloguedInstance
from ichd.store.criteria import Criteria
from ichd.web.api import is_uid
from ichd.web.dicomweb.files import require_here, whole_files
from ichd.web.viewing.archive import zipped
from ichd.web.viewing.slices import Slices
from ichd.web.viewing.stacks import stack_of_series
from ichd.web.viewing.wire import unpacked
from ichd.web.visitor import require

#: More images than any series of CT has.
_MOST_IMAGES = 10_000


def viewing_router(catalogue: Catalogue) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/studies/{study_uid}", tags=["images"])
    slices = Slices()

    @router.get(
        "/series/{series_uid}/stack",
        summary="The slices of a series, from the feet up, read or not",
        responses={404: {"description": "No such series, or none of its objects is an image."}},
    )
    def show_stack(study_uid: str, series_uid: str) -> Record:
        found = _found(catalogue, study_uid, series_uid=series_uid)
        require_here(found)
        stack = stack_of_series([instance.facts for instance in found])
        if stack is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "Nothing in this series is an image.")
        return stack.to_json()

    @router.get(
        "/images/{sop_uid}/hu",
        summary="A slice as whole HU: a head in JSON, then all low bytes, then all high bytes (docs/viewer.md)",
        response_class=Response,
        responses={
            200: {"content": {"application/octet-stream": {}}},
            404: {"description": "No such image."},
            410: {"description": "The image was dropped by the retention."},
        },
    )
    def show_slice(
        request: Request, study_uid: str, sop_uid: str, frame: Annotated[int | None, Query(ge=1, le=100_000)] = None
    ) -> Response:
        found = _found(catalogue, study_uid, sop_uid=sop_uid)
        require_here(found)
        catalogue.bring(found)
        content = slices.packed(found[0], frame)
        headers = {"Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
        else:
            content = unpacked(content)
        return Response(content, media_type="application/octet-stream", headers=headers)

    @router.get(
        "/images.zip",
        summary="All images of a study as they were stored",
        response_class=StreamingResponse,
        dependencies=[Depends(require(Role.OPERATOR))],
        responses={
            200: {"content": {"application/zip": {}}},
            404: {"description": "No such study."},
            410: {"description": "Images were dropped."},
        },
    )
    def download_images(study_uid: str) -> StreamingResponse:
        if not is_uid(study_uid):
            raise _unknown()
        files = whole_files(catalogue, Criteria(study_uids=(study_uid,)))
        if not files:
            raise _unknown()
        headers = {"Content-Disposition": f'attachment; filename="study-{study_uid}.zip"'}
        chunks: Iterator[bytes] = zipped(files)
        return StreamingResponse(chunks, media_type="application/zip", headers=headers)

    return router


def _found(
    catalogue: Catalogue, study_uid: str, *, series_uid: str = "", sop_uid: str = ""
) -> list[CataloguedInstance]:
    """Images under UIDs that came with a request, at least one.

    Raises:
        HTTPException: 404, there is none.
    """
    uids = [uid for uid in (study_uid, series_uid, sop_uid) if uid]
    criteria = Criteria(
        study_uids=(study_uid,),
        series_uids=(series_uid,) if series_uid else (),
        instance_uids=(sop_uid,) if sop_uid else (),
    )
    found = catalogue.instances(criteria, limit=_MOST_IMAGES) if all(map(is_uid, uids)) else []
    if not found:
        raise _unknown()
    return found


def _unknown() -> HTTPException:
    return HTTPException(HTTPStatus.NOT_FOUND, "There is no image with these UIDs; /api/studies lists the studies.")
