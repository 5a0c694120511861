"""Encoded values to Python ones, leniently: what can't be parsed is absent, never an error.

Every value is read by its tag, whatever its VR claims: the VR of a data set that arrives is as much a claim as the
rest of it.
"""

import math
import re
import struct
from collections.abc import Mapping
from functools import lru_cache

#: Single-byte and Unicode repertoires by Specific Character Set (PS3.3 C.12.1.1.2). What is missing here (code
#: extensions by ISO 2022 escapes) shows replacement characters in a description, and nothing else.
ENCODINGS: Mapping[str, str] = {
    "ISO_IR 100": "iso8859-1",
    "ISO_IR 101": "iso8859-2",
    "ISO_IR 109": "iso8859-3",
    "ISO_IR 110": "iso8859-4",
    "ISO_IR 144": "iso8859-5",
    "ISO_IR 127": "iso8859-6",
    "ISO_IR 126": "iso8859-7",
    "ISO_IR 138": "iso8859-8",
    "ISO_IR 148": "iso8859-9",
    "ISO_IR 203": "iso8859-15",
    "ISO_IR 13": "shift_jis",
    "ISO_IR 166": "tis_620",
    "ISO_IR 192": "utf-8",
    "GB18030": "gb18030",
    "GBK": "gbk",
}

_UID = re.compile(r"[0-9.]{1,64}")
_DECIMAL = re.compile(r"[+-]?([0-9]{1,32}(\.[0-9]{0,32})?|\.[0-9]{1,32})([eE][+-]?[0-9]{1,4})?")
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
#: IS is a signed 32-bit integer (PS3.5 6.2), and so is a database column for it.
_MAX_INTEGER = 2**31 - 1
_MAX_TEXT = 64
_MAX_CODES = 16

#: All but a few values are the same in each image of a series; to remember them is faster than to read them again.
_remembered = lru_cache(maxsize=1024)


def is_uid(text: str) -> bool:
    """Digits and dots, at most 64: the letters of PS3.5 9.1, but not its finer grammar, which senders break."""
    return _UID.fullmatch(text) is not None


class Values:
    """The values of one data set by keyword."""

    def __init__(self, values: Mapping[int, bytes], tags: Mapping[str, int], *, little_endian: bool) -> None:
        self._values = values
        self._tags = tags
        self._short = struct.Struct("<H" if little_endian else ">H")
        self._encoding = ENCODINGS.get(self._ascii("SpecificCharacterSet").split("\\")[0].strip(), "ascii")

    def has(self, keyword: str) -> bool:
        """The element is there and not empty."""
        return bool(self._values.get(self._tags[keyword]))

    def uid(self, keyword: str) -> str | None:
        """UI: padded with one NUL, which some writers make a space, or several."""
        text = self._ascii(keyword).rstrip("\0 ")
        return text if is_uid(text) else None

    def code(self, keyword: str) -> str:
        """CS, upper case; empty where it holds anything but the letters of the VR."""
        codes = _codes(self._raw(keyword))
        return codes[0] if len(codes) == 1 else ""

    def codes(self, keyword: str) -> tuple[str, ...]:
        """CS of several values."""
        return _codes(self._raw(keyword))

    def text(self, keyword: str) -> str:
        """LO, SH, DA, TM: at most 64 printable characters; NUL in particular is no text for a database."""
        return _text(self._raw(keyword), self._encoding)

    def integer(self, keyword: str) -> int | None:
        """IS of one value."""
        text = self._ascii(keyword).strip("\0 ")
        if _INTEGER.fullmatch(text) is None:
            return None
        number = int(text)
        return number if abs(number) <= _MAX_INTEGER else None

    def decimals(self, keyword: str) -> tuple[float, ...]:
        """DS of any number of values; all of them or none."""
        return _decimals(self._raw(keyword))

    def unsigned_short(self, keyword: str) -> int | None:
        """US of one value."""
        raw = self._raw(keyword)
        return int(self._short.unpack(raw)[0]) if len(raw) == self._short.size else None

    def _raw(self, keyword: str) -> bytes:
        return self._values.get(self._tags[keyword], b"")

    def _ascii(self, keyword: str) -> str:
        return self._raw(keyword).decode("ascii", errors="replace")


@_remembered
def _codes(raw: bytes) -> tuple[str, ...]:
    text = raw.decode("ascii", errors="replace")
    return tuple(_code(part) for part in text.split("\\")[:_MAX_CODES]) if text else ()


def _code(text: str) -> str:
    stripped = text.strip("\0 ").upper()
    return stripped if re.fullmatch(r"[A-Z0-9_ ]{1,16}", stripped) else ""


@_remembered
def _text(raw: bytes, encoding: str) -> str:
    return "".join(c for c in raw.decode(encoding, errors="replace") if c.isprintable()).strip()[:_MAX_TEXT]


@_remembered
def _decimals(raw: bytes) -> tuple[float, ...]:
    parts = [part.strip("\0 ") for part in raw.decode("ascii", errors="replace").split("\\")]
    if not all(_DECIMAL.fullmatch(part) for part in parts):
        return ()
    numbers = tuple(float(part) for part in parts)
    return numbers if all(math.isfinite(n) for n in numbers) else ()
