"""`/api`: the same facts as JSON, in the shapes of `ichd.web.shape`."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Response

from ichd.domain.errors import UserError
from ichd.domain.record import Record
from ichd.store.arrivals import Arrivals
from ichd.store.listing import StudyDetail
from ichd.store.studies import Studies
from ichd.store.worklist_order import Order
from ichd.web.answers import RefusalAnswer, StudyAnswer, StudyLine
from ichd.web.filters import After, Since, States, Text, Triages, Until, address_of, query_of
from ichd.web.shape import line_shape, refusal_shape, study_shape

#: PS3.5 9.1. Whatever is no UID can't be a study, and need not reach the database.
_UID = re.compile(r"[0-9.]{1,64}")
#: For the description of what is about one study.
NO_STUDY: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such study."}}


def api_router(studies: Studies, arrivals: Arrivals, clock: Callable[[], datetime]) -> APIRouter:
    """The routes of `/api`."""
    router = APIRouter(prefix="/api", tags=["studies"])

    @router.get(
        "/studies",
        summary="Studies, newest first, narrowed by what the worklist page narrows by",
        response_description='A page of them; the header Link with rel="next" leads to the next one.',
        response_model=None,
        responses={200: {"model": list[StudyLine]}, 404: {"description": "`after` names no page."}},
    )
    def list_studies(
        response: Response,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        q: Text = "",
        state: States = (),
        triage: Triages = (),
        since: Since = "",
        until: Until = "",
        order: Order = Order.NEWEST,
        after: After = "",
    ) -> list[Record]:
        query = query_of(
            q=q, state=state, triage=triage, since=since, until=until, order=order, after=after, limit=limit
        )
        page = studies.worklist.page(query, now=clock())
        if page.next is not None:
            there = replace(query, after=page.next)
            address = address_of(there, default=Order.NEWEST, since=since, until=until, limit=limit)
            response.headers["Link"] = f'</api/studies{address}>; rel="next"'
        return [line_shape(s) for s in page.studies]

    @router.get(
        "/studies/{study_uid}",
        summary="All that is known of one study",
        response_model=None,
        responses={200: {"model": StudyAnswer}, **NO_STUDY},
    )
    def show_study(study_uid: str) -> Record:
        return study_shape(find_study(studies, study_uid))

    @router.get(
        "/refusals",
        summary="Images that were turned away at the door, newest first",
        response_model=None,
        responses={200: {"model": list[RefusalAnswer]}},
    )
    def list_refusals(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[Record]:
        return [refusal_shape(refusal) for refusal in arrivals.refusals(limit=limit)]

    return router


def find_study(studies: Studies, study_uid: str) -> StudyDetail:
    """The study under a UID that came with a request.

    Raises:
        HTTPException: 404, there is none.
    """
    if is_uid(study_uid):
        try:
            return studies.detail(study_uid)
        except UserError:
            pass
    raise HTTPException(404, "There is no study with this Study Instance UID; /api/studies lists the newest ones.")


def is_uid(text: str) -> bool:
    """Whether it can be a UID at all."""
    return _UID.fullmatch(text) is not None
