"""What every answer carries, and which requests get one.

On loopback the page has no log-in because only this machine can reach it. That holds only if a page of somebody else,
open in a browser on this machine, can't read it either: the host name that the browser asked for must be one of ours
(`ichd.web.access.walls.KnownHosts`), and nothing of ours may be framed, embedded or read across origins.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ichd.web.assets import kept_by_browsers

#: Names under which a browser on this machine may ask.
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1", "[::1]")

#: No inline script or style, nothing from elsewhere; forms go nowhere else.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

#: Swagger UI draws its signs as data. Its styles are set by the CSSOM, which needs no leave.
_DOCS_POLICY = CONTENT_SECURITY_POLICY.replace("img-src 'self'", "img-src 'self' data:")

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SecurityHeaders:
    """Adds the headers above to every answer; findings are not kept in a browser's cache."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI; acts on HTTP alone."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if scope["path"] == "/docs":
                    headers["Content-Security-Policy"] = _DOCS_POLICY
                headers["Cache-Control"] = kept_by_browsers(scope, message["status"]) or "no-store"
            await send(message)

        await self._app(scope, receive, send_guarded)
