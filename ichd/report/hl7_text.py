"""HL7 v2 in its own letters: delimiters, escapes, fields, segments (HL7 v2.5.1 chapter 2).

`Field` is text that is encoded already. Whatever comes from an image or a setting passes `text` on its way into one, so
that no value can end a field, a segment or the frame of MLLP around the message.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NewType

Field = NewType("Field", str)

#: MSH-1 and MSH-2.
_FIELD_SEPARATOR = "|"
_ENCODING_CHARACTERS = "^~\\&"
_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
#: A line break as a command of formatted text (2.7.6): the one that receivers know.
_LINE_BREAK = "\\.br\\"
_SPECIAL = re.compile(r"\r\n|[\r\n\\|^&~\x00-\x1f\x7f]")

NOTHING = Field("")


def text(value: str) -> Field:
    """One value; control characters are written in hexadecimal (2.7.5), what UTF-8 can't hold as a question mark."""
    sayable = value.encode("utf-8", "replace").decode("utf-8")
    return Field(_SPECIAL.sub(_escape, sayable))


def components(*values: str) -> Field:
    """Values with ^ between them, without empty ones at the end."""
    return Field("^".join(map(text, values)).rstrip("^"))


def repetitions(fields: Iterable[Field]) -> Field:
    """Fields with ~ between them."""
    return Field("~".join(fields))


def timestamp(moment: datetime) -> Field:
    """An aware moment with its offset from UTC (DTM)."""
    return Field(moment.strftime("%Y%m%d%H%M%S%z"))


def header(fields: Mapping[int, Field]) -> Field:
    """MSH; its first two fields are the delimiters, so `fields` begin at 3."""
    return Field(f"MSH{_FIELD_SEPARATOR}{_ENCODING_CHARACTERS}{_FIELD_SEPARATOR}{_joined(fields, first=3)}")


def segment(name: str, fields: Mapping[int, Field]) -> Field:
    """A segment from its fields by number, without empty ones at the end."""
    return Field(f"{name}{_FIELD_SEPARATOR}{_joined(fields, first=1)}".rstrip(_FIELD_SEPARATOR))


def message(segments: Iterable[Field]) -> bytes:
    """A whole message; each segment ends with a carriage return (2.4.2)."""
    return "".join(f"{each}\r" for each in segments).encode("utf-8")


def _joined(fields: Mapping[int, Field], *, first: int) -> str:
    return _FIELD_SEPARATOR.join(fields.get(number, NOTHING) for number in range(first, max(fields) + 1))


def _escape(found: re.Match[str]) -> str:
    special = found.group()
    if special in ("\r\n", "\r", "\n"):
        return _LINE_BREAK
    return _ESCAPES.get(special) or f"\\X{ord(special):02X}\\"
