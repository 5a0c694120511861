"""The application: routes, pages for people, JSON for programs, and one way to say that something is wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ichd.domain.errors import Transient
from ichd.domain.finding import ModelIdentity
from ichd.store.arrivals import Arrivals
from ichd.store.studies import Studies
from ichd.web.api import api_router
from ichd.web.guard import LOOPBACK_HOSTS, SecurityHeaders
from ichd.web.health import Check, health_router
from ichd.web.pages import Pages, pages_router

_STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the pages say about this installation."""

    version: str
    #: How images reach the listener, e.g. "ICHD@127.0.0.1:11112".
    listener: str
    #: The model in use, read anew for each page; raises an IchdError that says what is wrong with it.
    model: Callable[[], ModelIdentity]


def create_app(
    *,
    studies: Studies,
    arrivals: Arrivals,
    site: Site,
    checks: Mapping[str, Check],
    clock: Callable[[], datetime],
) -> FastAPI:
    """The status page.

    `checks` are run by `/readyz`, by name; the one named `database` alone decides `/healthz`.
    """
    app = FastAPI(
        title="ichd",
        summary="Head CT haemorrhage triage: what arrived, what was found, where the reports went.",
        version=site.version,
        openapi_url="/api/openapi.json",
        # Their pages load scripts from another host, which the content security policy forbids.
        docs_url=None,
        redoc_url=None,
    )
    pages = Pages(site_version=site.version, listener=site.listener, model=site.model, clock=clock)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK_HOSTS), www_redirect=False)
    # Added last, so outermost: the answer to a foreign host name carries the headers too.
    app.add_middleware(SecurityHeaders)
    app.include_router(pages_router(studies, arrivals, pages))
    app.include_router(api_router(studies, arrivals))
    app.include_router(health_router(checks))
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    _say_what_is_wrong(app, pages)
    return app


def _say_what_is_wrong(app: FastAPI, pages: Pages) -> None:
    """Errors as one sentence, on a page for people and as `{"error": ...}` for programs."""

    def answer(request: Request, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": sentence}, status, headers)
        return pages.problem(status, sentence, headers)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        sentence = error.detail
        if sentence == HTTPStatus(error.status_code).phrase:
            sentence = "There is nothing at this address." if error.status_code == HTTPStatus.NOT_FOUND else sentence
        return answer(request, error.status_code, sentence, error.headers)

    @app.exception_handler(Transient)
    def database_away(request: Request, error: Transient) -> Response:
        return answer(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error), {"Retry-After": "5"})
