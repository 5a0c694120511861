"""`/`, and `/events` that keeps it alive: a filter in the address, lines, and what may be done with each."""

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from ichd.domain.role import Role
from ichd.domain.study import StudyState
from ichd.store.arrivals import Arrivals
from ichd.store.listing import StudySummary
from ichd.store.worklist import Worklist, WorklistQuery
from ichd.store.worklist_order import Cursor, Order
from ichd.web.filters import After, Since, Text, Triages, Until, address_of, query_of
from ichd.web.live import Full, Live, Sight, StreamCaps
from ichd.web.pages import Pages
from ichd.web.view import UNDER_WAY, NamesOf, View, chips, look
from ichd.web.visitor import visitor_of
from ichd.web.worklist import refusal_lines, study_line

#: A page that a person can look over, and that a phone can hold.
_LINES = 50
#: Enough to recognise a wrong routing rule.
_REFUSALS = 10
#: Seconds until a browser that found no room asks again.
_FULL_RETRY_S = "30"
StateWords = Annotated[Sequence[str], Query()]


class Words:
    """Views as the templates say them."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def rows(self, sight: Sight, view: View, studies: Sequence[StudySummary]) -> dict[str, str]:
        """Table rows by Study Instance UID."""
        return {
            study.study_uid: self._pages.part(
                "worklist_row.html",
                s=study_line(study, view.at),
                names=view.names,
                has_names=sight.names_of is not None,
                may_operate=sight.may_operate,
            )
            for study in studies
        }

    def rest(self, sight: Sight, view: View) -> dict[str, object]:
        """The numbers beside the filters, how many are urgent, and what kind of page it is."""
        return {
            "counts": {f"{chip.name}={chip.value}": chip.count for chip in chips(view, sight.query)},
            "shape": shape_of(view),
        }


def worklist_router(
    worklist: Worklist, arrivals: Arrivals, pages: Pages, caps: StreamCaps, names_of: NamesOf | None = None
) -> tuple[APIRouter, Live]:
    """The two routes, and what must be stopped before the server is."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    words = Words(pages)
    live = Live(worklist, words, pages.now, caps)

    def sight_of(request: Request, query: WorklistQuery) -> Sight:
        visitor = visitor_of(request)
        return Sight(
            query=query,
            names_of=names_of if visitor.sees_names else None,
            may_operate=visitor.may_as(Role.OPERATOR),
        )

    # `def` in a thread: the store waits for the database.
    @router.get("/")
    def show_worklist(
        request: Request,
        q: Text = "",
        state: StateWords = (),
        triage: Triages = (),
        since: Since = "",
        until: Until = "",
        order: Order = Order.URGENT,
        after: After = "",
    ) -> HTMLResponse:
        query = query_of(
            q=q, state=_states(state), triage=triage, since=since, until=until, order=order, after=after, limit=_LINES
        )
        sight = sight_of(request, query)
        view = look(worklist, query, sight.names_of, pages.now())

        def address(after: Cursor | None) -> str:
            there = replace(query, after=after)
            return address_of(there, default=Order.URGENT, since=since, until=until)

        return pages.page(
            request,
            "worklist.html",
            view=view,
            query=query,
            since=since,
            until=until,
            lines=[study_line(study, view.at) for study in view.page.studies],
            names=view.names,
            may_operate=sight.may_operate,
            chips=chips(view, query),
            shape=shape_of(view),
            has_names=sight.names_of is not None,
            is_first=query.after is None,
            first=f"/{address(None)}",
            next=f"/{address(view.page.next)}" if view.page.next else None,
            events=f"/events{address(query.after)}",
            refusals=refusal_lines(arrivals.refusals(limit=_REFUSALS), pages.now()) if query.after is None else [],
        )

    @router.get("/events")
    async def tell_of_changes(
        request: Request,
        q: Text = "",
        state: StateWords = (),
        triage: Triages = (),
        since: Since = "",
        until: Until = "",
        order: Order = Order.URGENT,
        after: After = "",
        version: Annotated[str, Query(max_length=64)] = "",
        last_event_id: Annotated[str, Header(max_length=64)] = "",
    ) -> StreamingResponse:
        query = query_of(
            q=q, state=_states(state), triage=triage, since=since, until=until, order=order, after=after, limit=_LINES
        )
        try:
            stream = live.join(sight_of(request, query), request.client.host if request.client else "")
        except Full:
            sentence = "Too many watch the worklist at once; this page asks again from time to time."
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, sentence, {"Retry-After": _FULL_RETRY_S}) from None
        # For nginx, which would keep lines back until there are many.
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(stream(last_event_id or version), media_type="text/event-stream", headers=headers)

    return router, live


def shape_of(view: View) -> str:
    """What kind of page it is: another one is loaded as a whole."""
    page = view.page
    more = "more" if page.next else "last"
    return f"{'list' if page.studies else 'none'}-{'unfinished' if page.is_unfinished else more}"


def _states(words: Sequence[str]) -> list[StudyState]:
    """Codes of states, and `under_way` for all that come before an end.

    Raises:
        HTTPException: 400, one is neither.
    """
    found: list[StudyState] = []
    for word in words:
        if word != "under_way" and word not in set(StudyState):
            raise HTTPException(HTTPStatus.BAD_REQUEST, "There is no such state of a study.")
        found += UNDER_WAY if word == "under_way" else [StudyState(word)]
    return found
