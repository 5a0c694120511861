"""`/healthz` and `/readyz`, for whatever watches the process: 200 or 503, with reasons in both cases."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ichd.domain.errors import IchdError
from ichd.web.visitor import address_of, is_loopback

#: Says what it found, or raises an IchdError that names the mend.
Check = Callable[[], str]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a check came to."""

    ok: bool
    #: What it found, or what is wrong and how to mend it.
    detail: str


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


def verdicts_of(checks: Mapping[str, Check]) -> dict[str, Verdict]:
    """Run them all, by name."""
    return {name: _run(check) for name, check in checks.items()}


def _verdict(checks: Mapping[str, Check], request: Request) -> JSONResponse:
    results = verdicts_of(checks)
    ok = all(verdict.ok for verdict in results.values())
    content: dict[str, object] = {"ok": ok}
    if is_loopback(address_of(request)):
        content["checks"] = {name: asdict(verdict) for name, verdict in results.items()}
    return JSONResponse(content, HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE)


def _run(check: Check) -> Verdict:
    try:
        return Verdict(ok=True, detail=check())
    except IchdError as error:
        return Verdict(ok=False, detail=str(error))
