"""The token that a browser's session wants back with everything that changes something.

The same-site check (`ichd.web.access.walls`) trusts what browsers say of themselves; the token trusts none of it.
"""

import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import Message, Receive

#: How scripts send it, and under which name forms do.
HEADER = "X-Form-Token"
FIELD = "form_token"
_FORM = "application/x-www-form-urlencoded"


async def receive_with_token(scope: Mapping[str, Any], receive: Receive, token: str) -> Receive | None:
    """How the route gets the body of a request that brings `token`; None where it does not.

    A form is read for that: `ShortBodies` has seen to it that it is short.
    """
    headers = Headers(raw=scope["headers"])
    if (sent := headers.get(HEADER)) is not None:
        return receive if _is_it(sent, token) else None
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return None
    body = await _read(receive)
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=200)
    if not any(_is_it(sent, token) for sent in fields.get(FIELD, [])):
        return None
    return _again(body, receive)


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, and then whatever comes: the end of the connection."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _is_it(sent: str, token: str) -> bool:
    return hmac.compare_digest(sent.encode(), token.encode())
