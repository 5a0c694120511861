"""The application: routes, pages for people, JSON for programs, and one way to say that something is wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from ichd.domain.errors import Permanent, Transient
from ichd.domain.finding import ModelIdentity
from ichd.domain.reason import Reason
from ichd.store.arrivals import Arrivals
from ichd.store.catalogue import Catalogue
from ichd.store.heatmaps import HeatMaps
from ichd.store.history import History
from ichd.store.reviews import Reviews
from ichd.store.sessions import LogIn, Sessions
from ichd.store.studies import Studies
from ichd.web import assets
from ichd.web.access.accounts import Accounts
from ichd.web.access.browsers import Browsers
from ichd.web.access.diary import Diary, NoteLogIn, Tell
from ichd.web.access.gate import Gate
from ichd.web.access.headers import LOOPBACK_HOSTS, SecurityHeaders
from ichd.web.access.log_in import Entrance, log_in_router
from ichd.web.access.oidc import oidc_router
from ichd.web.access.provider import Provider
from ichd.web.access.standing import Standings
from ichd.web.access.walls import BehindProxy, KnownHosts, SameSite, ShortBodies
from ichd.web.api import api_router
from ichd.web.dicomweb import dicomweb_router
from ichd.web.docs import docs_router
from ichd.web.errands import errands_router
from ichd.web.health import Check, health_router
from ichd.web.heatmaps import heat_maps_router
from ichd.web.live import StreamCaps
from ichd.web.names import Names, names_router
from ichd.web.objects import objects_router
from ichd.web.openapi import Described
from ichd.web.pages import Pages, Room, pages_router
from ichd.web.reviews import reviews_router
from ichd.web.viewing.routes import viewing_router
from ichd.web.worklist_page import worklist_router

#: Of what can't be served, and is nobody's fault.
_STATUS = {
    Reason.UNSUPPORTED_TRANSFER_SYNTAX: HTTPStatus.NOT_ACCEPTABLE,
    Reason.IMAGES_DROPPED: HTTPStatus.GONE,
}


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the pages say about this installation."""

    version: str
    #: How images reach the listener, e.g. "ICHD@127.0.0.1:11112".
    listener: str
    #: The model in use, read anew for each page; raises an IchdError that says what is wrong with it.
    model: Callable[[], ModelIdentity]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Who gets in, and by which names we are called; by default this machine's users, by the names of loopback."""

    accounts: Accounts | None = None
    #: What each account may.
    standings: Standings = field(default_factory=Standings)
    #: Vouches for people, beside the accounts.
    provider: Provider | None = None
    #: Of browsers that log in; without, programs alone get in, with credentials on each request.
    sessions: Sessions | None = None
    #: Writes log-ins to the audit trail.
    note: NoteLogIn = lambda *_: None
    #: Writes to it what else accounts do.
    tell: Tell = lambda *_: None
    #: Names and addresses of ours, beside those of loopback.
    hosts: Sequence[str] = ()
    #: We listen on every interface, whatever addresses they have.
    any_address: bool = False
    #: A proxy that takes care of TLS tells us who asks.
    behind_proxy: bool = False


def create_app(
    *,
    studies: Studies,
    arrivals: Arrivals,
    catalogue: Catalogue,
    heat_maps: HeatMaps,
    reviews: Reviews,
    history: History,
    site: Site,
    checks: Mapping[str, Check],
    clock: Callable[[], datetime],
    entry: Entry | None = None,
    doors: Sequence[APIRouter] = (),
    rooms: Sequence[Room] = (),
    streams: StreamCaps = StreamCaps(),  # noqa: B008 - a value
) -> FastAPI:
    """The status page with readers' words, and DICOMweb; through `doors` images come in, `rooms` are further pages.

    `app.state.live.stop()` ends the streams of those who watch the worklist, which keep a server from its end.
    `checks` are run by `/readyz`, by name; the one named `database` alone decides `/healthz`.
    """
    app = Described(
        title="ichd",
        summary="Head CT haemorrhage triage: what arrived, what was found, where the reports went.",
        version=site.version,
        openapi_url="/api/openapi.json",
        # Their pages load scripts from another host, which the content security policy forbids: `ichd.web.docs`.
        docs_url=None,
        redoc_url=None,
    )
    pages = Pages(site_version=site.version, listener=site.listener, model=site.model, clock=clock)
    entry = entry or Entry()
    _guard(app, entry, pages, clock)
    names = Names(catalogue, entry.tell)
    app.include_router(pages_router(studies, heat_maps, history, pages, names))
    app.include_router(names_router(names))
    app.include_router(objects_router(history, pages))
    app.include_router(viewing_router(catalogue))
    worklist, app.state.live = worklist_router(studies.worklist, arrivals, pages, streams, names.of_list)
    app.include_router(worklist)
    app.include_router(errands_router(studies, clock))
    app.include_router(api_router(studies, arrivals, clock))
    app.include_router(heat_maps_router(studies, heat_maps, catalogue))
    app.include_router(reviews_router(reviews, clock))
    app.include_router(docs_router(pages))
    app.include_router(health_router(checks))
    app.include_router(dicomweb_router(catalogue))
    for door in (*doors, *(room(pages) for room in rooms)):
        app.include_router(door)
    app.mount(assets.ROOT, assets.Assets(), name="static")
    _say_what_is_wrong(app, pages)
    return app


def _guard(app: FastAPI, entry: Entry, pages: Pages, clock: Callable[[], datetime]) -> None:
    """What a request passes before it comes to a route; what is added last stands outermost."""
    if entry.accounts is not None:
        diary = Diary(entry.note)
        browsers = None
        if entry.sessions is not None:
            browsers = Browsers(entry.sessions, entry.standings, clock=clock, fingerprint=_fingerprints(entry))
            label = entry.provider.config.label if entry.provider else None
            entrance = Entrance(
                accounts=entry.accounts, browsers=browsers, diary=diary, tell=entry.tell, provider=label
            )
            app.include_router(log_in_router(entrance, pages))
            if entry.provider is not None:
                app.include_router(oidc_router(entrance, entry.provider, pages))
        app.add_middleware(
            Gate,
            accounts=entry.accounts,
            standings=entry.standings,
            diary=diary,
            browsers=browsers,
            trusts_loopback=not entry.behind_proxy,
        )
    app.add_middleware(ShortBodies)
    app.add_middleware(SameSite)
    app.add_middleware(KnownHosts, names=(*LOOPBACK_HOSTS, *entry.hosts), any_address=entry.any_address)
    if entry.behind_proxy:
        app.add_middleware(BehindProxy)
    # Outside of all: the answer to a foreign host name carries the headers too.
    app.add_middleware(SecurityHeaders)


def _fingerprints(entry: Entry) -> Callable[[LogIn], str | None]:
    """Of log-ins as they would be now: one with another is over."""
    accounts, provider = entry.accounts, entry.provider

    def fingerprint(log_in: LogIn) -> str | None:
        if log_in.role is not None:
            return provider.config.fingerprint if provider is not None else None
        return accounts.fingerprint(log_in.account) if accounts is not None else None

    return fingerprint


def _say_what_is_wrong(app: FastAPI, pages: Pages) -> None:
    """Errors as one sentence, on a page for people and as `{"error": ...}` for programs."""

    def answer(
        request: Request,
        status: int,
        sentence: str,
        headers: Mapping[str, str] | None = None,
        *,
        reason: Reason | None = None,
    ) -> Response:
        if request.url.path.startswith(("/api/", "/dicom-web")):
            return JSONResponse({"error": sentence} | ({"reason": reason} if reason else {}), status, headers)
        return pages.problem(request, status, sentence, headers)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        sentence = error.detail
        if sentence == HTTPStatus(error.status_code).phrase:
            sentence = "There is nothing at this address." if error.status_code == HTTPStatus.NOT_FOUND else sentence
        return answer(request, error.status_code, sentence, error.headers)

    @app.exception_handler(RequestValidationError)
    def not_taken(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        # Where and why, and never the value: it may be anybody's name.
        where = ".".join(str(part) for part in first["loc"])
        return answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}.")

    @app.exception_handler(Transient)
    def database_away(request: Request, error: Transient) -> Response:
        headers = {"Retry-After": "5"}
        return answer(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers, reason=error.reason)

    @app.exception_handler(Permanent)
    def can_not_be_served(request: Request, error: Permanent) -> Response:
        status = _STATUS.get(error.reason, HTTPStatus.INTERNAL_SERVER_ERROR)
        return answer(request, status, str(error), reason=error.reason)
