"""The way through an identity provider: a browser goes there with a state of ours, and comes back with a code."""

import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from ichd.store.sessions import LogIn
from ichd.web.access.accounts import Accounts, Judgement, Verdict
from ichd.web.access.browsers import cookie_name, cookie_of, drop_cookie, set_cookie
from ichd.web.access.gate import LOG_IN, LOG_IN_CALLBACK, LOG_IN_PROVIDER
from ichd.web.access.log_in import Entrance, page_of_ours
from ichd.web.access.provider import NotVouched, Provider, ProviderAway
from ichd.web.pages import Pages
from ichd.web.visitor import address_of

#: How long somebody may take at the provider.
_PATIENCE_S = 600
_PARTS = ("state", "nonce", "verifier", "next")


def oidc_router(entrance: Entrance, provider: Provider, pages: Pages) -> APIRouter:
    """`/login/provider` and `/login/callback`."""
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

    @router.get(LOG_IN_PROVIDER)
    def go(request: Request, next: str = "/") -> Response:
        ours = {part: secrets.token_urlsafe(32) for part in _PARTS} | {"next": page_of_ours(next)}
        try:
            there = provider.address(
                back=_back(request), state=ours["state"], nonce=ours["nonce"], verifier=ours["verifier"]
            )
        except ProviderAway as error:
            return _refused(request, pages, f"{error}; try again later.", HTTPStatus.SERVICE_UNAVAILABLE)
        answer = RedirectResponse(there, HTTPStatus.SEE_OTHER)
        # It comes back from another site's link. Whoever makes one up harms nobody but himself.
        kept = urlsafe_b64encode(json.dumps(ours).encode()).decode()
        set_cookie(request.scope, answer, _cookie(request), kept, crosses=True, max_age_s=_PATIENCE_S)
        return answer

    @router.get(LOG_IN_CALLBACK)
    def come_back(request: Request, code: str = "", state: str = "") -> Response:
        ours = _kept(request)
        if ours is None or not code or not hmac.compare_digest(state.encode(), ours["state"].encode()):
            return _refused(request, pages, "This is not the way from a log-in that began here; begin anew.")
        try:
            who = provider.vouched(code, back=_back(request), nonce=ours["nonce"], verifier=ours["verifier"])
            _require_free(entrance.accounts, who.name)
        except ProviderAway as error:
            return _refused(request, pages, f"{error}; try again later.", HTTPStatus.SERVICE_UNAVAILABLE)
        except NotVouched as error:
            entrance.diary.write(Judgement(verdict=Verdict.WRONG), address_of(request))
            return _refused(request, pages, f"This log-in opens nothing here: {error}.")
        entrance.diary.write(Judgement(verdict=Verdict.KNOWN, account=who.name), address_of(request))
        # A page of ours leads on: a redirect would still count as the provider's, and the cookie would stay behind.
        answer = pages.page(request, "logged_in.html", next=page_of_ours(ours["next"]))
        log_in = LogIn(account=who.name, role=who.role, fingerprint=provider.config.fingerprint)
        entrance.browsers.start(request.scope, answer, log_in)
        drop_cookie(request.scope, answer, _cookie(request))
        return answer

    return router


def _require_free(accounts: Accounts, name: str) -> None:
    """Raises NotVouched where the trail could not tell a person of the provider from an account of the settings."""
    if accounts.fingerprint(name) is not None:
        raise NotVouched("an account of the settings has the same name")


def _back(request: Request) -> str:
    return str(request.base_url).rstrip("/") + LOG_IN_CALLBACK


def _cookie(request: Request) -> str:
    return cookie_name(request.scope, "-provider")


def _kept(request: Request) -> dict[str, str] | None:
    """What the browser was given on its way there."""
    try:
        kept = json.loads(urlsafe_b64decode(cookie_of(request.scope, _cookie(request))))
    except ValueError:
        return None
    is_ours = isinstance(kept, dict) and all(isinstance(kept.get(part), str) and kept[part] for part in _PARTS)
    return kept if is_ours else None


def _refused(request: Request, pages: Pages, sentence: str, status: int = HTTPStatus.FORBIDDEN) -> Response:
    answer = pages.page(request, "refused.html", status, sentence=sentence, again=LOG_IN)
    drop_cookie(request.scope, answer, _cookie(request))
    return answer
