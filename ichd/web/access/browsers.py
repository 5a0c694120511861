"""Browsers that logged in: the cookie that each holds, and the token that goes with what it changes."""

import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response

from ichd.store.sessions import LogIn, Sessions
from ichd.web.access.standing import Standings
from ichd.web.visitor import Visitor

#: Of a session's key: 32 bytes in base64.
_KEY_CHARACTERS = 43


class Browsers:
    """Sessions as HTTP has them. Each method that asks the store raises Transient where that fails."""

    def __init__(
        self,
        sessions: Sessions,
        standings: Standings,
        *,
        clock: Callable[[], datetime],
        fingerprint: Callable[[LogIn], str | None],
    ) -> None:
        """`fingerprint` is what that of a log-in would be now; None where its account is gone."""
        self._sessions = sessions
        self._standings = standings
        self._clock = clock
        self._fingerprint = fingerprint

    def visitor(self, scope: Mapping[str, Any]) -> Visitor | None:
        """Who the browser of a request is logged in as; None where it is not, or not any more."""
        key = _key_of(scope)
        log_in = self._sessions.find(key, now=self._clock()) if key else None
        if log_in is None or log_in.fingerprint != self._fingerprint(log_in):
            return None
        return self._standings.person(log_in.account, form_token=form_token(key), role=log_in.role)

    def start(self, scope: Mapping[str, Any], answer: Response, log_in: LogIn) -> None:
        """Log in: `answer` brings a new key, and the one that the browser had opens nothing any more."""
        self.end(scope, answer)
        key = self._sessions.start(log_in, now=self._clock())
        set_cookie(scope, answer, cookie_name(scope), key)

    def end(self, scope: Mapping[str, Any], answer: Response) -> None:
        """Log out."""
        if key := _key_of(scope):
            self._sessions.end(key)
            drop_cookie(scope, answer, cookie_name(scope))


def form_token(key: str) -> str:
    """What a form has to bring back: bound to the session, and useless for who finds it in a page that was saved."""
    return hmac.digest(key.encode(), b"form", "sha256").hex()


def cookie_name(scope: Mapping[str, Any], suffix: str = "") -> str:
    """With the prefix that binds a cookie to our host and to https, wherever there is https (RFC 6265bis 4.1.3.2)."""
    return f"{'__Host-' if scope['scheme'] == 'https' else ''}ichd{suffix}"


def set_cookie(
    scope: Mapping[str, Any],
    answer: Response,
    name: str,
    value: str,
    *,
    crosses: bool = False,
    max_age_s: int | None = None,
) -> None:
    """Give the browser something to keep; `crosses` where it must come back from another site's link."""
    answer.set_cookie(
        name,
        value,
        max_age=max_age_s,
        path="/",
        secure=scope["scheme"] == "https",
        httponly=True,
        samesite="lax" if crosses else "strict",
    )


def drop_cookie(scope: Mapping[str, Any], answer: Response, name: str) -> None:
    """Have the browser forget it; a `__Host-` cookie is only taken back by an answer that could have set it."""
    answer.delete_cookie(name, path="/", secure=scope["scheme"] == "https", httponly=True, samesite="strict")


def cookie_of(scope: Mapping[str, Any], name: str) -> str:
    """A cookie of a request; empty where there is none."""
    for line in Headers(raw=scope["headers"]).getlist("cookie"):
        for pair in line.split(";"):
            found, _, value = pair.strip().partition("=")
            if found == name:
                return value
    return ""


def _key_of(scope: Mapping[str, Any]) -> str:
    key = cookie_of(scope, cookie_name(scope))
    return key if len(key) == _KEY_CHARACTERS and key.isascii() else ""
