"""The gate before every page, answer and image: who asks."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ichd.domain.errors import Transient
from ichd.web import assets
from ichd.web.access.accounts import Accounts, Judgement, Verdict
from ichd.web.access.browsers import Browsers
from ichd.web.access.diary import Diary
from ichd.web.access.forms import receive_with_token
from ichd.web.access.refusal import refusal
from ichd.web.access.standing import Standings
from ichd.web.access.walls import SAFE_METHODS
from ichd.web.visitor import STRANGER, Visitor, admit, is_loopback, was_admitted

#: Where people log in.
LOG_IN = "/login"
#: From where to an identity provider, and back from there.
LOG_IN_PROVIDER, LOG_IN_CALLBACK = "/login/provider", "/login/callback"
#: For whatever watches the process; they say nothing to strangers.
_HEALTH = frozenset({"/healthz", "/readyz"})
#: What a stranger needs to become none: the form, and how it looks.
_ENTRANCE = frozenset({LOG_IN, LOG_IN_PROVIDER, LOG_IN_CALLBACK, *map(assets.address, ("ichd.css", "log_in.css"))})
#: The icon is asked for without a page around it.
_OPEN_PATHS = _HEALTH | _ENTRANCE | {assets.address("icon.svg")}
#: For whatever counts on this machine, which shall need no account; they hold numbers and names of ours, no patient.
_LOOPBACK_PATHS = frozenset({"/metrics"})


def was_let_in(scope: Mapping[str, Any], *, asks: bool) -> bool:
    """Whether somebody with an account asked, where accounts are asked for, and not just for our health."""
    return scope["path"] not in _HEALTH and (was_admitted(scope) or not asks)


class Gate:
    """Lets in who has an account or a browser that logged in. The name goes with the request."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        accounts: Accounts,
        standings: Standings,
        diary: Diary,
        browsers: Browsers | None,
        trusts_loopback: bool = False,
    ) -> None:
        """`trusts_loopback` where an address of this machine is that of who asks, and not of a proxy in front of us."""
        self._app = app
        self._accounts = accounts
        self._standings = standings
        self._diary = diary
        self._browsers = browsers
        self._trusts_loopback = trusts_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        address = scope["client"][0] if scope.get("client") else ""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._is_open(scope["path"], address):
            admit(scope, STRANGER)
            await self._app(scope, receive, send)
            return
        authorization = Headers(scope=scope).get("authorization")
        found = await run_in_threadpool(self._look, scope, authorization, address)
        if isinstance(found, Response):
            await found(scope, receive, send)
            return
        if found.form_token and scope["method"] not in SAFE_METHODS:
            again = await receive_with_token(scope, receive, found.form_token)
            if again is None:
                sentence = "This form is of another log-in; load the page again."
                await refusal(scope, HTTPStatus.FORBIDDEN, sentence)(scope, receive, send)
                return
            receive = again
        admit(scope, found)
        await self._app(scope, receive, send)

    def _is_open(self, path: str, address: str) -> bool:
        return path in _OPEN_PATHS or (path in _LOOPBACK_PATHS and self._trusts_loopback and is_loopback(address))

    def _look(self, scope: Scope, authorization: str | None, address: str) -> Visitor | Response:
        """Who asks, or what to tell them."""
        judgement = self._accounts.judge(authorization, address)
        if judgement.verdict not in {Verdict.ASKED, Verdict.BUSY}:
            self._diary.write(judgement, address)
        if judgement.verdict is Verdict.KNOWN:
            return self._standings.program(judgement.account)
        if judgement.verdict is not Verdict.ASKED or self._browsers is None:
            return self._refusal(scope, judgement, authorization)
        try:
            visitor = self._browsers.visitor(scope)
        except Transient as error:
            answer = refusal(scope, HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            answer.headers["Retry-After"] = "5"
            return answer
        return visitor or _to_log_in(scope) or self._refusal(scope, judgement, authorization)

    def _refusal(self, scope: Scope, judgement: Judgement, authorization: str | None) -> Response:
        if later := refusal_of(scope, judgement.verdict):
            return later
        answer = refusal(scope, HTTPStatus.UNAUTHORIZED, "An account is needed here; [[web.account]] lists them.")
        # A browser whose session ended would ask for a name and a password by a window of its own.
        if self._browsers is None or "sec-fetch-mode" not in Headers(scope=scope):
            answer.headers.append("WWW-Authenticate", 'Basic realm="ichd", charset="UTF-8"')
        if self._accounts.takes_tokens or "www-authenticate" not in answer.headers:
            is_wrong = (authorization or "").lower().startswith("bearer ")
            answer.headers.append("WWW-Authenticate", 'Bearer realm="ichd"' + ', error="invalid_token"' * is_wrong)
        return answer


def refusal_of(scope: Scope, verdict: Verdict) -> Response | None:
    """What a guesser, or one of a crowd, is told; None for everybody else."""
    if verdict is Verdict.LATER:
        answer = refusal(scope, HTTPStatus.TOO_MANY_REQUESTS, "Too many wrong passwords; wait a minute.")
        answer.headers["Retry-After"] = "60"
        return answer
    if verdict is Verdict.BUSY:
        answer = refusal(scope, HTTPStatus.SERVICE_UNAVAILABLE, "Too many log in at once; try again in a second.")
        answer.headers["Retry-After"] = "1"
        return answer
    return None


def _to_log_in(scope: Scope) -> Response | None:
    """Where a person is sent who asks for a page; None for programs."""
    path = scope["path"]
    wants_page = "text/html" in Headers(scope=scope).get("accept", "")
    if not wants_page or path.startswith(("/api/", "/dicom-web", f"{assets.ROOT}/")):
        return None
    back = ""
    if scope["method"] in SAFE_METHODS and path != "/":
        query = scope.get("query_string", b"").decode("latin-1")
        back = f"?next={quote(path + ('?' + query if query else ''), safe='/')}"
    return RedirectResponse(LOG_IN + back, HTTPStatus.SEE_OTHER)
