"""How a request is refused before it comes to a route."""

import json
from http import HTTPStatus

from starlette.responses import PlainTextResponse, Response
from starlette.types import Scope


def refusal(scope: Scope, status: HTTPStatus, sentence: str) -> Response:
    """For programs as JSON, for people as text."""
    if scope["path"].startswith(("/api/", "/dicom-web")):
        return Response(json.dumps({"error": sentence}), status, media_type="application/json")
    return PlainTextResponse(sentence, status)
