"""The resources of DICOMweb: their addresses, and what each is to be had as."""

import json
import re
from http import HTTPStatus
from threading import BoundedSemaphore

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from pydicom.dataset import FileDataset

from ichd.store.catalogue import Catalogue, CataloguedInstance
from ichd.store.criteria import Criteria
from ichd.vision.parsed import syntax_of
from ichd.web.dicomweb.accept import ANY_SYNTAX, DEFAULT_SYNTAX, accepted, not_acceptable, require, syntaxes_of
from ichd.web.dicomweb.attributes import Level, tag_of
from ichd.web.dicomweb.files import frames_of, in_explicit_little_endian, read_whole, verified_chunks, whole_files
from ichd.web.dicomweb.frames import OCTETS, choose_form, frame_bytes
from ichd.web.dicomweb.metadata import metadata
from ichd.web.dicomweb.model import BINARY
from ichd.web.dicomweb.multipart import Part, multipart_response, streamed
from ichd.web.dicomweb.nameless import PATIENT_GROUP, refuse_files, refuse_patterns, without_patient
from ichd.web.dicomweb.query import parse_query
from ichd.web.dicomweb.rendered import PICTURES, parse_rendering, render
from ichd.web.dicomweb.search import search
from ichd.web.visitor import visitor_of

#: Where all of it lives.
ROOT = "/dicom-web"

_DICOM = "application/dicom"
_JSON = "application/dicom+json"
_UID = re.compile(r"[0-9.]{1,64}")
_STUDY = "/studies/{study}"
_SERIES = f"{_STUDY}/series/{{series}}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"
#: Images that are decoded at the same time: each may hold a few times dicom.max_instance_mb of memory.
_AT_A_TIME = 4
_MOST_FRAMES = 1000


def dicomweb_router(catalogue: Catalogue) -> APIRouter:
    """QIDO-RS and WADO-RS over the catalogue."""
    # The description of the API is about what is our own; this is PS3.18's.
    router = APIRouter(prefix=ROOT, include_in_schema=False, default_response_class=Response)
    # Taken for each file that is read and each frame that is decoded, and never while a client is waited for.
    turns = BoundedSemaphore(_AT_A_TIME)
    _add_searches(router, catalogue)
    _add_files(router, catalogue, turns)
    _add_frames(router, catalogue, turns)
    return router


def _add_searches(router: APIRouter, catalogue: Catalogue) -> None:
    study, series, instance = Level.STUDY, Level.SERIES, Level.INSTANCE

    @router.get("/studies")
    def studies(request: Request) -> Response:
        return _search(catalogue, request, [study], Criteria())

    @router.get("/series")
    def all_series(request: Request) -> Response:
        return _search(catalogue, request, [series, study], Criteria())

    @router.get("/instances")
    def all_instances(request: Request) -> Response:
        return _search(catalogue, request, [instance, series, study], Criteria())

    @router.get(f"{_STUDY}/series")
    def series_of_study(request: Request) -> Response:
        return _search(catalogue, request, [series], _criteria(request))

    @router.get(f"{_STUDY}/instances")
    def instances_of_study(request: Request) -> Response:
        return _search(catalogue, request, [instance, series], _criteria(request))

    @router.get(f"{_SERIES}/instances")
    def instances_of_series(request: Request) -> Response:
        return _search(catalogue, request, [instance], _criteria(request))


def _add_files(router: APIRouter, catalogue: Catalogue, turns: BoundedSemaphore) -> None:
    """Files and headers of a study, of a series, of an image."""
    for path in (_STUDY, _SERIES, _INSTANCE):
        is_one = path == _INSTANCE

        @router.get(path)
        def retrieve(request: Request, is_one: bool = is_one) -> Response:
            if not visitor_of(request).sees_names:
                refuse_files()
            return _retrieve(request, _files(catalogue, request), turns, is_one=is_one)

        @router.get(f"{path}/metadata")
        def retrieve_metadata(request: Request) -> Response:
            require(request, _JSON, "application/json")
            is_named = visitor_of(request).sees_names
            return streamed(metadata(_files(catalogue, request), _root(request), is_named=is_named), _JSON)


def _add_frames(router: APIRouter, catalogue: Catalogue, turns: BoundedSemaphore) -> None:
    @router.get(f"{_INSTANCE}/frames/{{frames}}")
    def retrieve_frames(request: Request, frames: str) -> Response:
        (instance,) = _files(catalogue, request)
        with turns:
            dataset = read_whole(instance)
        return _send_frames(request, dataset, _frame_indices(frames, dataset), turns)

    @router.get(f"{_INSTANCE}/rendered")
    def retrieve_rendered(request: Request) -> Response:
        return picture(request, "1")

    @router.get(f"{_INSTANCE}/frames/{{frames}}/rendered")
    def retrieve_frame_rendered(request: Request, frames: str) -> Response:
        return picture(request, frames)

    @router.get(f"{_INSTANCE}/bulkdata/{{tag}}")
    def retrieve_bulkdata(request: Request, tag: str) -> Response:
        (instance,) = _files(catalogue, request)
        with turns:
            dataset = read_whole(instance)
        return _send_bulk(request, dataset, tag, turns)

    def picture(request: Request, frames: str) -> Response:
        wanted = parse_rendering(request.query_params, require(request, *PICTURES))
        (instance,) = _files(catalogue, request)
        with turns:
            dataset = read_whole(instance)
            index, *more = _frame_indices(frames, dataset)
            if more:
                raise HTTPException(HTTPStatus.BAD_REQUEST, "One picture shows one frame; ask for each by itself.")
            return Response(render(dataset, index, wanted), media_type=wanted.media_type)


def _search(catalogue: Catalogue, request: Request, described: list[Level], path: Criteria) -> Response:
    require(request, _JSON, "application/json")
    query = parse_query(request.query_params.multi_items(), level=described[0], path=path)
    is_named = visitor_of(request).sees_names
    if not is_named:
        refuse_patterns(query.patterns)
    found = search(catalogue, query, described=described, root=_root(request))
    warning = {"Warning": ", ".join(f'299 ichd "{text}"' for text in found.warnings)} if found.warnings else {}
    results = found.results if is_named else [without_patient(each) for each in found.results]
    return Response(json.dumps(results), media_type=_JSON, headers=warning)


def _retrieve(request: Request, files: list[CataloguedInstance], turns: BoundedSemaphore, *, is_one: bool) -> Response:
    ranges = accepted(request)
    syntaxes = syntaxes_of(ranges, _DICOM, multipart=True)
    if not syntaxes and is_one and (single := syntaxes_of(ranges, _DICOM, multipart=False)):
        return streamed(_part(files[0], single, turns).chunks, _DICOM)
    if not syntaxes:
        raise not_acceptable(f"files are to be had as multipart/related; type={_DICOM}")
    return multipart_response(_DICOM, (_part(each, syntaxes, turns) for each in files))


def _part(instance: CataloguedInstance, syntaxes: list[str], turns: BoundedSemaphore) -> Part:
    """The file in the syntax that the client takes most gladly of those that there are: the stored one, and the one
    that everybody reads."""
    stored = instance.facts.transfer_syntax_uid
    for syntax in syntaxes:
        if syntax in {stored, ANY_SYNTAX}:
            return Part(media_type=_DICOM, transfer_syntax=stored, chunks=verified_chunks(instance))
        if syntax == DEFAULT_SYNTAX:
            with turns:
                content = in_explicit_little_endian(instance)
            return Part(media_type=_DICOM, transfer_syntax=DEFAULT_SYNTAX, chunks=iter([content]))
    raise not_acceptable(f"files are to be had in transfer syntax {stored} or {DEFAULT_SYNTAX}")


def _send_frames(request: Request, dataset: FileDataset, indices: list[int], turns: BoundedSemaphore) -> Response:
    form = choose_form(accepted(request), syntax_of(dataset))

    def content(index: int) -> bytes:
        with turns:
            return frame_bytes(dataset, index, form)

    if not form.multipart:
        if len(indices) > 1:
            raise not_acceptable("several frames are to be had as multipart/related")
        return Response(content(indices[0]), media_type=form.media_type)
    parts = (
        Part(media_type=form.media_type, transfer_syntax=form.transfer_syntax, chunks=iter([content(index)]))
        for index in indices
    )
    return multipart_response(form.media_type, parts)


def _send_bulk(request: Request, dataset: FileDataset, tag: str, turns: BoundedSemaphore) -> Response:
    if not re.fullmatch("[0-9A-Fa-f]{8}", tag) or int(tag, 16) not in dataset:
        raise HTTPException(HTTPStatus.NOT_FOUND, "The image has no such attribute.")
    if int(tag, 16) >> 16 == PATIENT_GROUP and not visitor_of(request).sees_names:
        refuse_files()
    if int(tag, 16) == tag_of("PixelData"):
        return _send_frames(request, dataset, list(range(frames_of(dataset))), turns)
    element = dataset[int(tag, 16)]
    if element.VR not in BINARY:
        raise HTTPException(HTTPStatus.NOT_FOUND, "The attribute stands in the metadata.")
    ranges = [each for each in accepted(request) if each.covers(OCTETS)]
    if not ranges:
        raise not_acceptable(f"bulk data are to be had as {OCTETS}")
    value = element.value or b""
    if not ranges[0].multipart:
        return Response(value, media_type=OCTETS)
    part = Part(media_type=OCTETS, transfer_syntax=str(syntax_of(dataset)), chunks=iter([value]))
    return multipart_response(OCTETS, [part])


def _frame_indices(frames: str, dataset: FileDataset) -> list[int]:
    """Indices from zero of "1,3,4"."""
    numbers = frames.split(",")
    if len(numbers) > _MOST_FRAMES or not all(re.fullmatch("[0-9]{1,9}", number) for number in numbers):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "frames are whole numbers from 1 with commas between them")
    indices = [int(number) - 1 for number in numbers]
    if not all(0 <= index < frames_of(dataset) for index in indices):
        raise HTTPException(HTTPStatus.NOT_FOUND, f"The image has {frames_of(dataset)} frames.")
    return indices


def _files(catalogue: Catalogue, request: Request) -> list[CataloguedInstance]:
    """The images under the request's address, at least one."""
    found = whole_files(catalogue, _criteria(request))
    if not found:
        raise HTTPException(HTTPStatus.NOT_FOUND, "Nothing with these UIDs is stored.")
    return found


def _criteria(request: Request) -> Criteria:
    """The UIDs of the request's address."""
    uids = {name: request.path_params.get(name) for name in ("study", "series", "instance")}
    if not all(uid is None or _UID.fullmatch(uid) for uid in uids.values()):
        raise HTTPException(HTTPStatus.NOT_FOUND, "An address holds UIDs: digits and dots.")
    study, series, instance = (tuple([uid] if uid else []) for uid in uids.values())
    return Criteria(study_uids=study, series_uids=series, instance_uids=instance)


def _root(request: Request) -> str:
    """The address of DICOMweb as the client knows us.

    dicomweb-client leaves the port out of Host; without a proxy in between it can only be the one that we listen on.
    """
    base, server = request.base_url, request.scope.get("server")
    usual = {"http": 80, "https": 443}.get(base.scheme)
    if base.port is None and server is not None and server[1] != usual:
        base = base.replace(port=server[1])
    return str(base).rstrip("/") + ROOT
