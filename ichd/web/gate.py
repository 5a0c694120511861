"""The gate before every page, answer and image: who asks, by which name, from where."""

import ipaddress
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ichd.domain.audit import AuditOutcome
from ichd.domain.errors import Transient
from ichd.domain.role import Role
from ichd.web.accounts import Accounts, Judgement, Verdict
from ichd.web.visitor import Visitor, admit, visitor_of, was_admitted

_log = structlog.get_logger(__name__)

#: For whatever watches the process; they say nothing to strangers.
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
#: Bytes of a request that is no image.
_LONGEST_BODY = 16 << 10
#: For whatever counts on this machine, which shall need no account; they hold numbers and names of ours, no patient.
LOOPBACK_PATHS = frozenset({"/metrics"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: How often the trail names the same account at the same address, and the same failing address, seconds.
_SUCCESS_EVERY_S = 3600.0
_FAILURE_EVERY_S = 60.0
_MOST_NOTED = 4096

#: Writes a log-in down: outcome, account, address; raises Transient where it can't.
NoteLogIn = Callable[[AuditOutcome, str, str], None]


def account_of(request: Request) -> str:
    """Name of the account that asks; empty where no accounts are asked for."""
    return visitor_of(request).account


def was_let_in(scope: Mapping[str, Any], *, asks: bool) -> bool:
    """Whether somebody with an account asked, where accounts are asked for, and not just for our health."""
    return scope["path"] not in OPEN_PATHS and (was_admitted(scope) or not asks)


def address_of(request: Request) -> str:
    """Where the client sits."""
    return request.client.host if request.client else ""


def is_loopback(address: str) -> bool:
    """Whether a client sits on this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class BehindProxy:
    """Takes the client's address and scheme from the proxy that takes care of TLS.

    The last entry of X-Forwarded-For is that proxy's own word; those before it are anybody's. Some proxies append to
    the client's line (nginx), some add a line of their own below it (HAProxy).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            scope["scheme"] = "https"
            # Where we listen is no address that the client knows.
            scope["server"] = None
            lines = Headers(scope=scope).getlist("x-forwarded-for")
            forwarded = lines[-1].rpartition(",")[2].strip() if lines else ""
            if forwarded:
                scope["client"] = (forwarded, 0)
        await self._app(scope, receive, send)


class KnownHosts:
    """Answers only under names that are ours, against DNS rebinding; an IP address can't be rebound."""

    def __init__(self, app: ASGIApp, names: Collection[str], *, any_address: bool) -> None:
        self._app = app
        self._names = frozenset(name.lower().strip("[]") for name in names)
        self._any_address = any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and not self._is_ours(Headers(scope=scope).get("host", "")):
            answer = PlainTextResponse(
                "Invalid host header; list the name in web.hosts if it is ours.", HTTPStatus.BAD_REQUEST
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        name = _name_of(host)
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address


class SameSite:
    """Refuses requests that change something and that a page of somebody else made a browser send.

    A browser adds the credentials that it remembers to any such request. Programs send neither of the two headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["method"] not in _SAFE_METHODS and _is_foreign(Headers(scope=scope)):
            answer = _answer(scope, HTTPStatus.FORBIDDEN, "A page of another site can't send or change anything here.")
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)


class ShortBodies:
    """Refuses what is longer than a form or a few words of JSON, before it is read; images have a door of their own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and not scope["path"].startswith("/dicom-web"):
            headers = Headers(scope=scope)
            length = headers.get("content-length", "0")
            if "transfer-encoding" in headers:
                await _answer(scope, HTTPStatus.LENGTH_REQUIRED, "Say how long it is.")(scope, receive, send)
                return
            if not length.isdecimal() or int(length) > _LONGEST_BODY:
                sentence = f"At most {_LONGEST_BODY} bytes are read here."
                await _answer(scope, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Gate:
    """Lets in who has an account. The name goes with the request, and log-ins go to the audit trail."""

    def __init__(self, app: ASGIApp, accounts: Accounts, note: NoteLogIn, *, trusts_loopback: bool = False) -> None:
        """`trusts_loopback` where an address of this machine is that of who asks, and not of a proxy in front of us."""
        self._app = app
        self._accounts = accounts
        self._trusts_loopback = trusts_loopback
        self._diary = _Diary(note)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        address = scope["client"][0] if scope.get("client") else ""
        if scope["type"] != "http" or self._is_open(scope["path"], address):
            await self._app(scope, receive, send)
            return
        authorization = Headers(scope=scope).get("authorization")
        judgement = await run_in_threadpool(self._judge, authorization, address)
        if judgement.verdict is Verdict.KNOWN:
            admit(scope, Visitor(account=judgement.account, role=Role.ADMIN, sees_names=True))
            await self._app(scope, receive, send)
            return
        await self._refusal(scope, judgement, authorization)(scope, receive, send)

    def _is_open(self, path: str, address: str) -> bool:
        return path in OPEN_PATHS or (path in LOOPBACK_PATHS and self._trusts_loopback and is_loopback(address))

    def _judge(self, authorization: str | None, address: str) -> Judgement:
        judgement = self._accounts.judge(authorization, address)
        if judgement.verdict not in {Verdict.ASKED, Verdict.BUSY}:
            self._diary.write(judgement, address)
        return judgement

    def _refusal(self, scope: Scope, judgement: Judgement, authorization: str | None) -> Response:
        if judgement.verdict is Verdict.LATER:
            answer = _answer(scope, HTTPStatus.TOO_MANY_REQUESTS, "Too many wrong passwords; wait a minute.")
            answer.headers["Retry-After"] = "60"
            return answer
        if judgement.verdict is Verdict.BUSY:
            answer = _answer(scope, HTTPStatus.SERVICE_UNAVAILABLE, "Too many log in at once; try again in a second.")
            answer.headers["Retry-After"] = "1"
            return answer
        answer = _answer(scope, HTTPStatus.UNAUTHORIZED, "An account is needed here; [[web.account]] lists them.")
        answer.headers.append("WWW-Authenticate", 'Basic realm="ichd", charset="UTF-8"')
        if self._accounts.takes_tokens:
            is_wrong = (authorization or "").lower().startswith("bearer ")
            answer.headers.append("WWW-Authenticate", 'Bearer realm="ichd"' + ', error="invalid_token"' * is_wrong)
        return answer


class _Diary:
    """Log-ins as the trail should have them: not one line for each of a viewer's requests."""

    def __init__(self, note: NoteLogIn) -> None:
        self._note = note
        self._lock = Lock()
        self._noted: OrderedDict[tuple[AuditOutcome, str, str], float] = OrderedDict()

    def write(self, judgement: Judgement, address: str) -> None:
        outcome = AuditOutcome.SUCCESS if judgement.verdict is Verdict.KNOWN else AuditOutcome.MINOR_FAILURE
        key = (outcome, judgement.account, address)
        pause_s = _SUCCESS_EVERY_S if outcome is AuditOutcome.SUCCESS else _FAILURE_EVERY_S
        now = time.monotonic()
        with self._lock:
            if now - self._noted.get(key, -pause_s) < pause_s:
                return
            self._noted[key] = now
            self._noted.move_to_end(key)
            while len(self._noted) > _MOST_NOTED:
                self._noted.popitem(last=False)
        _log.info("log_in_judged", verdict=judgement.verdict.value, account=judgement.account, address=address)
        try:
            self._note(*key)
        except Transient:
            # Nobody is shut out for the trail's sake: the log has it, and the next request tries again.
            _log.warning("log_in_not_recorded", account=judgement.account, address=address)
            with self._lock:
                self._noted.pop(key, None)


def _is_foreign(headers: Headers) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


def _name_of(host: str) -> str:
    """The name of "name:port", "[::1]:port" or either without a port, lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return (host if host.count(":") > 1 else host.partition(":")[0]).lower()


def _answer(scope: Scope, status: HTTPStatus, sentence: str) -> Response:
    """For programs as JSON, for people as text."""
    if scope["path"].startswith(("/api/", "/dicom-web")):
        return Response(json.dumps({"error": sentence}), status, media_type="application/json")
    return PlainTextResponse(sentence, status)
