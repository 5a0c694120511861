"""A multipart message (RFC 2046 5.1) read as it comes: parts one after the other, each in fragments, nothing held.

python-multipart finds the boundaries (4 GB/s in pieces of 64 KiB, on random bytes and on bytes full of half boundaries
alike); this turns its callbacks into iterators and adds the bounds that a stranger's message needs. Text before the
first boundary, which RFC 2046 allows and nobody sends, is not.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from ichd.domain.errors import IchdError

#: RFC 2046 5.1.1 says 70; Orthanc's are of 73.
MAX_BOUNDARY_CHARS = 128


class NotMultipart(IchdError):
    """The bytes are no multipart message, break off before its end, or exceed a limit; never quotes them."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is read of a message before it counts as an attack."""

    #: A study of a spectral scanner has some ten thousand images.
    parts: int = 50_000
    #: Header lines of one part; DICOM knows Content-Type, Content-Length and Content-Location.
    headers: int = 16
    #: Bytes of one header line.
    header_bytes: int = 4096


@dataclass(frozen=True, kw_only=True)
class _Headers:
    """The headers of a part are whole; its content follows."""

    values: Mapping[str, str]


class _End:
    """The part is whole."""


class Part:
    """One part of a message: its headers, and its content as an iterator that can be gone through once."""

    def __init__(self, headers: Mapping[str, str], fragments: Iterator[memoryview]) -> None:
        #: By name in lower case; of a repeated one the last.
        self.headers = headers
        self._fragments = fragments

    def __iter__(self) -> Iterator[memoryview]:
        """The content.

        Raises:
            NotMultipart: the message breaks off before the part ends.
        """
        return self._fragments


def read_parts(chunks: Iterable[bytes], boundary: str, limits: Limits | None = None) -> Iterator[Part]:
    """The parts of a message; what was not taken of one is passed over when the next is asked for.

    Raises:
        NotMultipart: when the parts before the trouble have been given out; a part that is not whole raises it from
            within.
    """
    return _Reader(chunks, boundary, limits or Limits()).parts()


class _Reader:
    """Pulls chunks through the parser when its events run out, one chunk at a time."""

    def __init__(self, chunks: Iterable[bytes], boundary: str, limits: Limits) -> None:
        if not 0 < len(boundary) <= MAX_BOUNDARY_CHARS or not boundary.isascii():
            raise NotMultipart(f"The boundary must have 1 to {MAX_BOUNDARY_CHARS} ASCII characters.")
        self._chunks = iter(chunks)
        self._limits = limits
        self._parts = 0
        self._events: deque[_Headers | memoryview | type[_End]] = deque()
        self._name = b""
        self._value = b""
        self._headers: dict[str, str] = {}
        self._complete = False
        self._trouble: NotMultipart | None = None
        self._parser = MultipartParser(
            boundary.encode("ascii"),
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._extend_name,
                "on_header_value": self._extend_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._extend_part,
                "on_part_end": self._end_part,
                "on_end": self._end_message,
            },
            max_header_count=limits.headers,
            max_header_size=limits.header_bytes,
        )

    def parts(self) -> Iterator[Part]:
        while (event := self._next()) is not None:
            if isinstance(event, _Headers):
                yield Part(event.values, self._content())

    def _content(self) -> Iterator[memoryview]:
        while isinstance(event := self._next(), memoryview):
            yield event

    def _next(self) -> _Headers | memoryview | type[_End] | None:
        """The next event; None once the message is over."""
        while not self._events:
            if self._trouble is not None:
                raise self._trouble
            if self._complete:
                return None
            self._pull()
        return self._events.popleft()

    def _pull(self) -> None:
        """Parse one more chunk. Trouble waits until the events before it were given out."""
        chunk = next(self._chunks, None)
        if chunk is None:
            raise NotMultipart("The message ends before its closing boundary.")
        try:
            self._parser.write(chunk)
        except FormParserError:
            # What the parser says may quote the message.
            self._trouble = NotMultipart("The message breaks the rules of RFC 2046 for multipart content.")
        except NotMultipart as error:
            self._trouble = error

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > self._limits.parts:
            raise NotMultipart(f"The message has more than {self._limits.parts} parts.")
        self._headers = {}

    def _extend_name(self, data: bytes, begin: int, end: int) -> None:
        self._name += data[begin:end]

    def _extend_value(self, data: bytes, begin: int, end: int) -> None:
        self._value += data[begin:end]

    def _end_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1").strip()
        self._name = self._value = b""

    def _end_headers(self) -> None:
        self._events.append(_Headers(values=self._headers))

    def _extend_part(self, data: bytes, begin: int, end: int) -> None:
        self._events.append(memoryview(data)[begin:end])

    def _end_part(self) -> None:
        self._events.append(_End)

    def _end_message(self) -> None:
        self._complete = True
