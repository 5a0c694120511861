"""The page where people log in, and the end of it."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from ichd.domain.audit import AuditEvent
from ichd.store.sessions import LogIn
from ichd.web.access.accounts import Accounts, Judgement, Verdict
from ichd.web.access.browsers import Browsers
from ichd.web.access.diary import Diary, Tell
from ichd.web.access.gate import LOG_IN, refusal_of
from ichd.web.pages import Pages
from ichd.web.visitor import account_of, address_of

#: A page of ours: two slashes, or one and a backslash, would lead to another host.
_OURS = re.compile(r"/(?![/\\])[!-~]{0,2000}")
_WRONG = "This name and this password do not belong together."


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """What the page needs to let somebody in."""

    accounts: Accounts
    browsers: Browsers
    diary: Diary
    tell: Tell
    #: What the button of the identity provider says; None without one.
    provider: str | None = None


def log_in_router(entrance: Entrance, pages: Pages) -> APIRouter:
    """`/login` and `/logout`."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    def form(request: Request, back: str, status: int = HTTPStatus.OK, **said: str) -> HTMLResponse:
        return pages.page(
            request,
            "log_in.html",
            status,
            next=back,
            provider=entrance.provider,
            takes_passwords=entrance.accounts.takes_passwords,
            **{"name": "", "trouble": ""} | said,
        )

    @router.get(LOG_IN)
    def show(request: Request, next: str = "/") -> HTMLResponse:
        return form(request, page_of_ours(next))

    @router.post(LOG_IN)
    def log_in(
        request: Request,
        name: Annotated[str, Form()] = "",
        password: Annotated[str, Form()] = "",
        next: Annotated[str, Form()] = "/",
    ) -> Response:
        back = page_of_ours(next)
        judgement = entrance.accounts.log_in(name, password, address_of(request))
        if judgement.verdict is not Verdict.BUSY:
            entrance.diary.write(judgement, address_of(request))
        if later := refusal_of(request.scope, judgement.verdict):
            page = form(request, back, later.status_code, name=name, trouble=bytes(later.body).decode())
            page.headers["Retry-After"] = later.headers["Retry-After"]
            return page
        if judgement.verdict is not Verdict.KNOWN:
            return form(request, back, HTTPStatus.FORBIDDEN, name=name, trouble=_WRONG)
        answer = RedirectResponse(back, HTTPStatus.SEE_OTHER)
        entrance.browsers.start(request.scope, answer, _log_in_of(entrance.accounts, judgement))
        return answer

    @router.post("/logout")
    def log_out(request: Request) -> RedirectResponse:
        answer = RedirectResponse(LOG_IN, HTTPStatus.SEE_OTHER)
        entrance.browsers.end(request.scope, answer)
        entrance.tell(AuditEvent.LOG_OUT, account_of(request), address_of(request), {})
        return answer

    return router


def page_of_ours(path: str) -> str:
    """`path` where it is one of ours, else the worklist: a link must not lead through the log-in to somebody else."""
    return path if _OURS.fullmatch(path) else "/"


def _log_in_of(accounts: Accounts, judgement: Judgement) -> LogIn:
    fingerprint = accounts.fingerprint(judgement.account) or ""
    return LogIn(account=judgement.account, role=None, fingerprint=fingerprint)
