"""What each request passes before anybody asks who sent it: our names, our own pages, short bodies."""

import ipaddress
from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ichd.web.access.refusal import refusal

#: Bytes of a request that is no image.
_LONGEST_BODY = 16 << 10
#: Methods that change nothing.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


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
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS and _is_foreign(Headers(scope=scope)):
            answer = refusal(scope, HTTPStatus.FORBIDDEN, "A page of another site can't send or change anything here.")
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
                await refusal(scope, HTTPStatus.LENGTH_REQUIRED, "Say how long it is.")(scope, receive, send)
                return
            if not length.isdecimal() or int(length) > _LONGEST_BODY:
                sentence = f"At most {_LONGEST_BODY} bytes are read here."
                await refusal(scope, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_foreign(headers: Headers) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = headers.get("origin")
    try:
        return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    except ValueError:
        # No browser says that of a page of ours.
        return True


def _name_of(host: str) -> str:
    """The name of "name:port", "[::1]:port" or either without a port, lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return (host if host.count(":") > 1 else host.partition(":")[0]).lower()
