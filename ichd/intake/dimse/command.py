"""Command sets of DIMSE messages (PS3.7 chapter 6 and annex E): requests read, responses written.

A command set is a short run of elements of group 0000 in implicit VR little endian; only the few that we act on are
looked at.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from ichd.intake.dimse.pdu import AbortReason, Violation

#: The longest that makes sense is some hundred bytes long.
LONGEST_COMMAND_SET = 16 << 10
_NO_DATA_SET = 0x0101
_RESPONSE = 0x8000
_LONGEST_UID = 64
#: Error Comment is an LO (PS3.7 annex C).
_LONGEST_COMMENT = 64

_ELEMENT = struct.Struct("<HHL")
_US = struct.Struct("<H")

_AFFECTED_SOP_CLASS_UID = 0x0002
_REQUESTED_SOP_CLASS_UID = 0x0003
_COMMAND_FIELD = 0x0100
_MESSAGE_ID = 0x0110
_MESSAGE_ID_RESPONDED_TO = 0x0120
_DATA_SET_TYPE = 0x0800
_STATUS = 0x0900
_ERROR_COMMENT = 0x0902
_AFFECTED_SOP_INSTANCE_UID = 0x1000
_REQUESTED_SOP_INSTANCE_UID = 0x1001
_EVENT_TYPE_ID = 0x1002
_ACTION_TYPE_ID = 0x1008


class CommandField(IntEnum):
    """Requests by Command Field, beside those of the normalised services."""

    C_STORE = 0x0001
    C_ECHO = 0x0030
    C_CANCEL = 0x0FFF


@dataclass(frozen=True, kw_only=True)
class Command:
    """A request as far as anybody here asks."""

    field: int
    message_id: int
    has_data_set: bool
    #: Affected or requested, as the operation has it; the peer's words, unchecked.
    sop_class_uid: str
    sop_instance_uid: str
    #: Event Type ID or Action Type ID; 0 where there is none.
    type_id: int

    @property
    def is_request(self) -> bool:
        """Whether it wants an answer."""
        return not self.field & _RESPONSE and self.field != CommandField.C_CANCEL


def read_command(command_set: bytes | bytearray | memoryview) -> Command:
    """The command in a whole command set.

    Raises:
        Violation: it is malformed.
    """
    elements = _elements(memoryview(command_set))
    return Command(
        field=_number(elements, _COMMAND_FIELD),
        message_id=_number(elements, _MESSAGE_ID, default=0),
        has_data_set=_number(elements, _DATA_SET_TYPE) != _NO_DATA_SET,
        sop_class_uid=_text(elements, _AFFECTED_SOP_CLASS_UID) or _text(elements, _REQUESTED_SOP_CLASS_UID),
        sop_instance_uid=_text(elements, _AFFECTED_SOP_INSTANCE_UID) or _text(elements, _REQUESTED_SOP_INSTANCE_UID),
        type_id=_number(elements, _ACTION_TYPE_ID, default=0) or _number(elements, _EVENT_TYPE_ID, default=0),
    )


def response(command: Command, status: int, comment: str = "") -> bytes:
    """The command set that answers `command`; it never has a data set."""
    elements = [
        _uid_element(_AFFECTED_SOP_CLASS_UID, command.sop_class_uid),
        _us_element(_COMMAND_FIELD, command.field | _RESPONSE),
        _us_element(_MESSAGE_ID_RESPONDED_TO, command.message_id),
        _us_element(_DATA_SET_TYPE, _NO_DATA_SET),
        _us_element(_STATUS, status),
    ]
    if comment:
        text = comment[:_LONGEST_COMMENT].encode("ascii", errors="replace")
        elements.append(_element(_ERROR_COMMENT, text + b" " * (len(text) % 2)))
    elements.append(_uid_element(_AFFECTED_SOP_INSTANCE_UID, command.sop_instance_uid))
    if command.type_id and command.field in _TYPE_ID_OF:
        elements.append(_us_element(_TYPE_ID_OF[command.field], command.type_id))
    content = b"".join(elements)
    return _element(0x0000, struct.pack("<L", len(content))) + content


#: N-EVENT-REPORT and N-ACTION repeat the type that they were asked for.
_TYPE_ID_OF = {0x0100: _EVENT_TYPE_ID, 0x0130: _ACTION_TYPE_ID}


def _elements(content: memoryview) -> dict[int, memoryview]:
    """Values by element number; the group length is not believed."""
    elements: dict[int, memoryview] = {}
    offset, last = 0, -1
    while offset < len(content):
        if len(content) - offset < _ELEMENT.size:
            raise _malformed("an element without its header")
        group, number, length = _ELEMENT.unpack_from(content, offset)
        start = offset + _ELEMENT.size
        offset = start + length
        if group != 0 or number <= last:
            raise _malformed("elements of another group or out of order")
        if offset > len(content):
            raise _malformed("an element that ends after the command set")
        elements[number] = content[start:offset]
        last = number
    return elements


def _number(elements: dict[int, memoryview], element: int, *, default: int | None = None) -> int:
    value = elements.get(element)
    if value is None and default is not None:
        return default
    if value is None or len(value) != _US.size:
        raise _malformed("a number that is missing or not two bytes long")
    return int(_US.unpack(value)[0])


def _text(elements: dict[int, memoryview], element: int) -> str:
    value = elements.get(element)
    # Of Latin-1 every byte is a character: what the peer wrote can be repeated to it as it was.
    return "" if value is None else bytes(value).decode("latin-1").rstrip("\0 ")


def _uid_element(element: int, uid: str) -> bytes:
    """Nothing where it is empty or too long to be a UID: what is wrong is not repeated at any length."""
    if not uid or len(uid) > _LONGEST_UID:
        return b""
    value = uid.encode("latin-1", errors="replace")
    return _element(element, value + b"\0" * (len(value) % 2))


def _us_element(element: int, value: int) -> bytes:
    return _element(element, _US.pack(value))


def _element(element: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0x0000, element, len(value)) + value


def _malformed(words: str) -> Violation:
    return Violation(AbortReason.INVALID_PARAMETER_VALUE, f"a command set with {words}")
