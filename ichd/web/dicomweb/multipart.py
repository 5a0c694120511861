"""Answers of many parts (PS3.18 8.6.1, RFC 2387), sent as they are made: memory does not grow with them."""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from fastapi.responses import StreamingResponse


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the answer."""

    media_type: str
    transfer_syntax: str
    #: At least one.
    chunks: Iterator[bytes]


def multipart_response(media_type: str, parts: Iterable[Part]) -> StreamingResponse:
    """`parts` as multipart/related.

    The first piece is made before the answer begins: trouble with it still becomes an error of its own. Later trouble
    breaks the connection off, which no client takes for the end.
    """
    boundary = secrets.token_hex(16)
    return streamed(_message(boundary, parts), f'multipart/related; type="{media_type}"; boundary={boundary}')


def streamed(chunks: Iterator[bytes], media_type: str) -> StreamingResponse:
    """Pieces as they are made, the first one now."""
    first = next(chunks)
    return StreamingResponse(chain([first], chunks), media_type=media_type)


def _message(boundary: str, parts: Iterable[Part]) -> Iterator[bytes]:
    for part in parts:
        head = f"--{boundary}\r\nContent-Type: {part.media_type}; transfer-syntax={part.transfer_syntax}\r\n\r\n"
        yield head.encode() + next(part.chunks)
        yield from part.chunks
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()
