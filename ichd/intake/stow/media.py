"""What a request says it holds, and in which form it wants its answer (PS3.18 8.7)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException

from ichd.intake.stow.rendering import Record, as_json, as_xml

JSON = "application/dicom+json"
XML = "application/dicom+xml"

#: A longer header is no offer, it is an attempt to keep us busy.
_MAX_HEADER_CHARS = 2048


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form of an answer."""

    media_type: str
    render: Callable[[Record], bytes]


_JSON_FORM = Form(media_type=JSON, render=as_json)
#: By what a client may ask for, the more particular first: of equal wishes that one wins.
_FORMS: Mapping[str, Form] = {
    JSON: _JSON_FORM,
    "application/json": _JSON_FORM,
    XML: Form(media_type=XML, render=as_xml),
    "application/*": _JSON_FORM,
    "*/*": _JSON_FORM,
}


def boundary_of(content_type: str) -> str:
    """The boundary of a `multipart/related; type="application/dicom"`.

    Raises:
        HTTPException: 415 for any other media type, 400 without a boundary.
    """
    media_type, options = parse_options_header(content_type[:_MAX_HEADER_CHARS])
    # RFC 2387 demands the type of the root part; who leaves it out can only mean this one.
    kind = options.get(b"type", b"application/dicom").lower()
    if media_type != b"multipart/related" or kind != b"application/dicom":
        sentence = 'Send multipart/related; type="application/dicom".'
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, sentence)
    boundary = options.get(b"boundary", b"").decode("latin-1")
    if not boundary:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The Content-Type names no boundary.")
    return boundary


def form_of(accept: str) -> Form:
    """The form that suits a client best; JSON where it has no wish.

    Raises:
        HTTPException: 406, it wants something else.
    """
    wishes = [_wish(offer) for offer in accept[:_MAX_HEADER_CHARS].split(",") if offer.strip()]
    possible = [(weight, name) for name, weight in wishes if name in _FORMS and weight > 0]
    if not wishes:
        return _JSON_FORM
    if not possible:
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE, f"The answer is {JSON} or {XML}.")
    rank = list(_FORMS)
    _, name = min(possible, key=lambda wish: (-wish[0], rank.index(wish[1])))
    return _FORMS[name]


def _wish(offer: str) -> tuple[str, float]:
    """A media type and its weight (RFC 9110 12.5.1)."""
    name, options = parse_options_header(offer.strip())
    try:
        return name.decode("latin-1"), float(options.get(b"q", b"1"))
    except ValueError:
        return name.decode("latin-1"), 0.0
