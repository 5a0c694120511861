"""The data sets of services: references and codes, read for those alone, and never trusted.

A full reader (pydicom) builds an object for each item and each element, at a thousand times the bytes that an empty
item takes on the wire, and reads nested sequences recursively. Here only what a service asks for is kept.
"""

from dataclasses import dataclass, field

from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.intake.elements import ITEM, ITEM_END, MAX_VALUE_BYTES, SEQUENCE_END, UNDEFINED, Walk
from ichd.intake.service import Request
from ichd.intake.syntax import TRANSFER_SYNTAXES, TransferSyntax
from ichd.intake.values import is_uid

_TEXTS = {
    "SOPClassUID": 0x00080016,
    "SOPInstanceUID": 0x00080018,
    "InstanceAvailability": 0x00080056,
    "Modality": 0x00080060,
    "CodeValue": 0x00080100,
    "CodingSchemeDesignator": 0x00080102,
    "ReferencedSOPClassUID": 0x00081150,
    "ReferencedSOPInstanceUID": 0x00081155,
    "TransactionUID": 0x00081195,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "PerformedProcedureStepStatus": 0x00400252,
}
_SEQUENCES = {
    "ReferencedSeriesSequence": 0x00081115,
    "ReferencedImageSequence": 0x00081140,
    "FailedSOPSequence": 0x00081198,
    "ReferencedSOPSequence": 0x00081199,
    "ScheduledStepAttributesSequence": 0x00400270,
    "PerformedSeriesSequence": 0x00400340,
    "ConceptNameCodeSequence": 0x0040A043,
    "CurrentRequestedProcedureEvidenceSequence": 0x0040A375,
    "ContentSequence": 0x0040A730,
}
_TEXT_TAGS = frozenset(_TEXTS.values())
_SEQUENCE_TAGS = frozenset(_SEQUENCES.values())

#: Of one data set: twice the 10,000 references that a request may have, with ten elements each.
MOST_ITEMS = 20_000
_MOST_STEPS = 200_000
#: Of sequences that are read; those of the services nest two deep.
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Information:
    """What a service may ask of a data set or an item; everything else was passed over."""

    #: Encoded values by tag.
    texts: dict[int, bytes] = field(default_factory=dict)
    #: Items by the tag of their sequence.
    sequences: dict[int, "list[Information]"] = field(default_factory=dict)


def decode(request: Request) -> Information | None:
    """The data set of a request; None where it makes no sense or has more to say than any service needs."""
    try:
        return read_information(request.dataset, request.transfer_syntax_uid)
    except Refused:
        return None


def read_information(dataset: bytes | memoryview, transfer_syntax_uid: str) -> Information:
    """The same for a data set by itself.

    Raises:
        Refused: NOT_DICOM, TRUNCATED, or UNSUPPORTED_TRANSFER_SYNTAX: compressed, which such data sets never are.
    """
    syntax = TRANSFER_SYNTAXES.get(transfer_syntax_uid)
    if syntax is None or syntax.deflated or syntax.encapsulated:
        detail = transfer_syntax_uid if is_uid(transfer_syntax_uid) else "not a UID"
        raise Refused(Reason.UNSUPPORTED_TRANSFER_SYNTAX, detail)
    return _Reader(memoryview(dataset), syntax).whole()


def has_sequence(information: Information, keyword: str) -> bool:
    """Whether a sequence is there, with items or without."""
    return _SEQUENCES[keyword] in information.sequences


def has_text(information: Information, keyword: str) -> bool:
    """Whether a code or UID is there, empty or not."""
    return _TEXTS[keyword] in information.texts


def items_of(information: Information, keyword: str) -> list[Information]:
    """The items of a sequence; none where it is missing."""
    return information.sequences.get(_SEQUENCES[keyword], [])


def text_of(information: Information, keyword: str) -> str:
    """A code as it was encoded; empty where it is missing."""
    return information.texts.get(_TEXTS[keyword], b"").decode("ascii", errors="replace").strip("\0 ")


def uid_of(information: Information, keyword: str) -> str | None:
    """A UID; None where it is missing or is none."""
    text = text_of(information, keyword)
    return text if is_uid(text) else None


class _Reader:
    """Reads one data set; raises Refused where it makes no sense."""

    def __init__(self, dataset: memoryview, syntax: TransferSyntax) -> None:
        self._dataset = dataset
        self._explicit_vr = syntax.explicit_vr
        self._walk = Walk(dataset, len(dataset), syntax, most_steps=_MOST_STEPS)
        self._items = 0

    def whole(self) -> Information:
        if not self._dataset:
            raise Refused(Reason.NOT_DICOM, "no bytes")
        information, _ = self._content(0, len(self._dataset), self._explicit_vr, 0)
        return information

    def _content(self, offset: int, end: int | None, explicit_vr: bool, depth: int) -> tuple[Information, int]:
        """Elements up to `end`, or to a delimiter where there is none; and where the next thing begins."""
        information = Information()
        while end is None or offset < end:
            if end is None and self._walk.marker(offset)[0] == ITEM_END:
                return information, offset + 8
            tag, vr, length, start = self._walk.element(offset, explicit_vr)
            inner_vr = explicit_vr and vr != b"UN"
            if tag in _SEQUENCE_TAGS and vr in (b"", b"SQ", b"UN"):
                information.sequences[tag], offset = self._sequence(start, length, inner_vr, depth + 1)
            elif length == UNDEFINED:
                offset = self._walk.skip_sequence(start, inner_vr)
            else:
                offset = self._walk.past(start, length)
                if tag in _TEXT_TAGS and length <= MAX_VALUE_BYTES:
                    information.texts[tag] = bytes(self._dataset[start:offset])
        return information, _ended(offset, end)

    def _sequence(self, offset: int, length: int, explicit_vr: bool, depth: int) -> tuple[list[Information], int]:
        """The items of a sequence, and where the next thing begins."""
        if depth > _DEEPEST:
            raise Refused(Reason.NOT_DICOM, f"sequences nest deeper than {_DEEPEST}")
        end = None if length == UNDEFINED else self._walk.past(offset, length)
        items: list[Information] = []
        while end is None or offset < end:
            tag, size = self._walk.marker(offset)
            offset += 8
            if end is None and tag == SEQUENCE_END:
                return items, offset
            self._items += 1
            if tag != ITEM or self._items > MOST_ITEMS:
                raise Refused(Reason.NOT_DICOM, f"no item, or more than {MOST_ITEMS}, before byte {offset}")
            item_end = None if size == UNDEFINED else self._walk.past(offset, size)
            item, offset = self._content(offset, item_end, explicit_vr, depth)
            items.append(item)
        return items, _ended(offset, end)


def _ended(offset: int, end: int | None) -> int:
    """Where what has a length ended, if it is where the length says."""
    if offset != end:
        raise Refused(Reason.NOT_DICOM, f"what ends at byte {end} has content up to byte {offset}")
    return offset
