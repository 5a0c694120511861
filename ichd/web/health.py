"""`/healthz` and `/readyz`, for whatever watches the process: 200 or 503, with reasons in both cases."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ichd.domain.errors import IchdError
from ichd.web.visitor import address_of, is_loopback

#: Says what it found, or raises an IchdError that names the mend.
Check = Callable[[], str]


def health_router(checks: Mapping[str, Check]) -> APIRouter:
    """The two routes over named checks; `database` must be one of them. Strangers get the verdict alone."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="The process is alive and its database has the right schema")
    def healthz(request: Request) -> JSONResponse:
        return _verdict({"database": checks["database"]}, request)

    @router.get("/readyz", summary="A study that arrives now can be stored and read")
    def readyz(request: Request) -> JSONResponse:
        return _verdict(checks, request)

    return router


def _verdict(checks: Mapping[str, Check], request: Request) -> JSONResponse:
    results = {name: _run(check) for name, check in checks.items()}
    ok = all(passed for passed, _ in results.values())
    content: dict[str, object] = {"ok": ok}
    if is_loopback(address_of(request)):
        content["checks"] = {name: {"ok": passed, "detail": detail} for name, (passed, detail) in results.items()}
    return JSONResponse(content, HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE)


def _run(check: Check) -> tuple[bool, str]:
    try:
        return True, check()
    except IchdError as error:
        return False, str(error)
