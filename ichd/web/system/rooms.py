"""The routes: the same figures for people and for programs."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Engine

from ichd.domain.errors import IchdError
from ichd.domain.finding import ModelIdentity
from ichd.domain.role import Role
from ichd.web.health import Check, verdicts_of
from ichd.web.metrics import Watched
from ichd.web.pages import Pages, Room
from ichd.web.system.figures import Gatherer
from ichd.web.system.shape import system_shape
from ichd.web.system.span import Span
from ichd.web.system.view import system_page
from ichd.web.visitor import visitor_of

_Range = Annotated[Span, Query(alias="range", description="how far the traffic looks back")]


def system_room(engine: Engine, watched: Watched, checks: Mapping[str, Check]) -> Room:
    """`/system` and `/api/system`. Everybody may look; what names accounts or settings is told to an admin alone."""
    gatherer = Gatherer(engine, watched)

    def room(pages: Pages) -> APIRouter:
        router = APIRouter()

        @router.get("/system", include_in_schema=False)
        def show_system(request: Request, span: _Range = Span.DAY) -> HTMLResponse:
            tells_all = visitor_of(request).may_as(Role.ADMIN)
            page = system_page(gatherer.figures(span), verdicts_of(checks), tells_all=tells_all)
            return pages.page(request, "system.html", system=page)

        @router.get("/api/system", tags=["health"], summary="How the daemon does, now and over time")
        def tell_system(request: Request, span: _Range = Span.DAY) -> dict[str, Any]:
            tells_all = visitor_of(request).may_as(Role.ADMIN)
            return system_shape(gatherer.figures(span), _model(watched), verdicts_of(checks), tells_all=tells_all)

        return router

    return room


def _model(watched: Watched) -> ModelIdentity | None:
    try:
        return watched.model()
    except IchdError:
        return None
