"""`/` and `/studies/{study_uid}`: plain values into templates."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from ichd.domain.errors import IchdError
from ichd.domain.finding import CLASSES, ModelIdentity
from ichd.domain.role import Role
from ichd.domain.wording import class_label
from ichd.store.heatmaps import HeatMaps
from ichd.store.history import History
from ichd.store.studies import Studies
from ichd.vision.window import BONE, BRAIN, SUBDURAL
from ichd.web.api import find_study
from ichd.web.assets import address, modules
from ichd.web.heatmaps import finding_in, heat_section
from ichd.web.names import Names
from ichd.web.strips import MARK_HEIGHT, STRIP_HEIGHT
from ichd.web.study import study_page
from ichd.web.visitor import visitor_of
from ichd.web.words import dicom_date, short_uid

#: What the head of each page leads to.
_ROOMS = (("/", "Worklist"), ("/system", "System"))


class Pages:
    """Renders templates with what every page shows: the model, and what must be said about it."""

    def __init__(
        self,
        *,
        site_version: str,
        listener: str,
        model: Callable[[], ModelIdentity],
        clock: Callable[[], datetime],
    ) -> None:
        self._model = model
        self._clock = clock
        # Series descriptions and AE titles come from other machines: everything is escaped, nothing is marked safe.
        self._templates = Environment(
            loader=PackageLoader("ichd.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            version=site_version,
            listener=listener,
            strip_height=STRIP_HEIGHT,
            mark_height=MARK_HEIGHT,
            rooms=_ROOMS,
            asset=address,
            modules=modules,
        )
        self._templates.filters.update(when=_when, iso=datetime.isoformat, short_uid=short_uid, dicom_date=dicom_date)

    def now(self) -> datetime:
        """The moment that a page is made for."""
        return self._clock()

    def page(self, request: Request, template: str, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
        """A page for whoever asks."""
        model, problem = self._model_or_problem()
        html = self._templates.get_template(template).render(
            model=model, model_problem=problem, visitor=visitor_of(request), path=request.url.path, **values
        )
        return HTMLResponse(html, status)

    def part(self, template: str, **values: Any) -> str:
        """A part of a page, as HTML."""
        return self._templates.get_template(template).render(**values)

    def problem(
        self, request: Request, status: int, sentence: str, headers: Mapping[str, str] | None = None
    ) -> HTMLResponse:
        """A page that says what is wrong."""
        page = self.page(request, "problem.html", status, title=HTTPStatus(status).phrase, sentence=sentence)
        page.headers.update(headers or {})
        return page

    def _model_or_problem(self) -> tuple[ModelIdentity | None, str]:
        try:
            return self._model(), ""
        except IchdError as error:
            return None, str(error)


#: Makes the routes of pages that are rendered as all are.
Room = Callable[[Pages], APIRouter]


def pages_router(studies: Studies, heat_maps: HeatMaps, history: History, pages: Pages, names: Names) -> APIRouter:
    """The routes of the pages."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @router.get("/studies/{study_uid}")
    def show_study(request: Request, study_uid: str) -> HTMLResponse:
        detail = find_study(studies, study_uid)
        finding = finding_in(detail.record)
        study = study_page(
            detail,
            pages.now(),
            finding=finding,
            heat=heat_section(finding, heat_maps.of_study(study_uid)),
            revisions=history.revisions(study_uid),
            objects=history.objects(study_uid),
        )
        return pages.page(
            request,
            "study.html",
            study=study,
            patient=names.at_hand(request, study_uid),
            is_operator=visitor_of(request).may_as(Role.OPERATOR),
            windows=[asdict(window) for window in (BRAIN, SUBDURAL, BONE)],
            classes=[(name, class_label(name)) for name in CLASSES],
        )

    return router


def _when(moment: datetime) -> str:
    """In the time zone of this machine, which is the reader's: the page is for this machine alone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
