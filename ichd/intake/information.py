"""The data sets of services: references and codes, decoded by pydicom, and never trusted."""

import io
import struct

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset

from ichd.domain.errors import Refused
from ichd.intake.elements import walk
from ichd.intake.service import Request
from ichd.intake.syntax import TRANSFER_SYNTAXES
from ichd.intake.values import is_uid

#: What pydicom raises on bytes that are a data set by their lengths, and not by their values.
_DECODING_ERRORS = (
    AttributeError,
    BytesLengthException,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    TypeError,
    ValueError,
    struct.error,
)


def decode(request: Request) -> Dataset | None:
    """The data set of a request; None where it makes no sense."""
    syntax = TRANSFER_SYNTAXES.get(request.transfer_syntax_uid)
    if syntax is None or syntax.deflated or syntax.encapsulated:
        return None
    try:
        # pydicom reads sequences recursively: first whether they end, and nest no deeper than it can bear.
        walk(memoryview(request.dataset), syntax, frozenset())
        return read_dataset(
            io.BytesIO(request.dataset), is_implicit_VR=not syntax.explicit_vr, is_little_endian=syntax.little_endian
        )
    except (Refused, *_DECODING_ERRORS):
        return None


def items_of(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where it is missing or can't be read."""
    try:
        sequence = dataset.get(keyword)
        return [item for item in sequence if isinstance(item, Dataset)] if sequence else []
    except _DECODING_ERRORS:
        return []


def text_of(dataset: Dataset, keyword: str) -> str:
    """A code as it was encoded; empty where it is missing.

    pydicom's own conversion would say what it dislikes on standard error, value and all.
    """
    element = dataset.get_item(keyword)
    if element is None or not isinstance(element.value, bytes):
        return ""
    return element.value.decode("ascii", errors="replace").strip("\0 ")


def uid_of(dataset: Dataset, keyword: str) -> str | None:
    """A UID; None where it is missing or is none."""
    text = text_of(dataset, keyword)
    return text if is_uid(text) else None
