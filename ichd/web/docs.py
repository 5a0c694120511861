"""`/docs`: the description of the API as a page, to read and to try, with nothing from another host."""

from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse

from ichd.web.pages import Pages

#: Swagger UI, which the package of this name ships.
_SHIPPED_BY = "fastapi_offline"
_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


def docs_router(pages: Pages) -> APIRouter:
    """The page, and the two files that it needs."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    def show(request: Request) -> HTMLResponse:
        return pages.page(request, "docs.html")

    @router.get("/docs/{name}")
    def part(name: str) -> FileResponse:
        if name not in _FILES:
            raise HTTPException(404)
        return FileResponse(_folder() / name, media_type=_FILES[name])

    return router


def _folder() -> Path:
    spec = find_spec(_SHIPPED_BY)
    if spec is None or not spec.submodule_search_locations:
        raise HTTPException(404, f"The package {_SHIPPED_BY} is not installed; /api/openapi.json says it all.")
    return Path(spec.submodule_search_locations[0]) / "static"
