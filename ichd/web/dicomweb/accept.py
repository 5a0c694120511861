"""What a client takes (PS3.18 8.7): media types with the transfer syntaxes that it reads, best first."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import HTTPException, Request
from pydicom.uid import ExplicitVRLittleEndian

#: What a DICOM file and a frame are sent in where the client names no transfer syntax (PS3.18 8.7.3.5.2).
DEFAULT_SYNTAX = str(ExplicitVRLittleEndian)
ANY_SYNTAX = "*"
_MOST_RANGES = 32
_OUTSIDE_QUOTES = r'(?=(?:[^"]*"[^"]*")*[^"]*$)'


@dataclass(frozen=True, kw_only=True)
class MediaRange:
    """One entry of Accept."""

    #: Lower case; of a multipart message, what its parts are.
    media_type: str
    multipart: bool
    #: A UID, "*" for any, empty where the client does not say.
    transfer_syntax: str

    def covers(self, media_type: str) -> bool:
        """Whether `media_type` is one of those that it stands for."""
        kind = media_type.partition("/")[0]
        return self.media_type in {media_type, "*/*", f"{kind}/*", f"{kind}/"}


def accepted(request: Request) -> list[MediaRange]:
    """What the client takes, best first: the parameter `accept` where it is given, else the header, else anything."""
    text = request.query_params.get("accept") or request.headers.get("accept") or "*/*"
    weighed = []
    for entry in re.split("," + _OUTSIDE_QUOTES, text)[:_MOST_RANGES]:
        media_type, parameters = _parse(entry)
        quality = _quality(parameters.get("q", "1"))
        if quality <= 0 or "/" not in media_type:
            continue
        multipart = media_type == "multipart/related"
        weighed.append(
            (
                quality,
                MediaRange(
                    media_type=parameters.get("type", "*/*").lower() if multipart else media_type,
                    multipart=multipart or media_type == "*/*",
                    transfer_syntax=parameters.get("transfer-syntax", ""),
                ),
            )
        )
    return [each for _, each in sorted(weighed, key=lambda pair: -pair[0])]


def require(request: Request, *media_types: str) -> str:
    """The first of `media_types` that the client takes most gladly.

    Raises:
        HTTPException: 406, it takes none of them.
    """
    for each in accepted(request):
        for media_type in media_types:
            if each.covers(media_type):
                return media_type
    raise not_acceptable(f"this is to be had as {', '.join(media_types)}")


def not_acceptable(sentence: str) -> HTTPException:
    """406."""
    return HTTPException(HTTPStatus.NOT_ACCEPTABLE, sentence)


def syntaxes_of(ranges: Sequence[MediaRange], media_type: str, *, multipart: bool) -> list[str]:
    """Transfer syntaxes in which the client takes `media_type`, best first; "*" stands for any."""
    return list(dict.fromkeys(_syntaxes(ranges, media_type, multipart=multipart)))


def _syntaxes(ranges: Sequence[MediaRange], media_type: str, *, multipart: bool) -> Iterator[str]:
    for each in ranges:
        if each.covers(media_type) and each.multipart is multipart:
            yield each.transfer_syntax or DEFAULT_SYNTAX


def _parse(entry: str) -> tuple[str, dict[str, str]]:
    media_type, *parameters = re.split(";" + _OUTSIDE_QUOTES, entry)
    pairs = (parameter.partition("=") for parameter in parameters)
    return media_type.strip().lower(), {n.strip().lower(): v.strip().strip('"') for n, _, v in pairs}


def _quality(text: str) -> float:
    return float(text) if re.fullmatch(r"[01](\.[0-9]{0,3})?", text) else 1.0
