"""Command sets of DIMSE messages (PS3.7 chapter 6 and annex E): requests written, responses read.

A command set is a short run of elements of group 0000 in implicit VR little endian.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from ichd.publish.pdu import Violation

#: The longest that makes sense is some hundred bytes long.
LONGEST_COMMAND_SET = 16 << 10
_NO_DATA_SET = 0x0101
_SOME_DATA_SET = 0x0001
_RESPONSE = 0x8000

_ELEMENT = struct.Struct("<HHL")
_US = struct.Struct("<H")


class Tag(IntEnum):
    """Element numbers of group 0000."""

    AFFECTED_SOP_CLASS_UID = 0x0002
    REQUESTED_SOP_CLASS_UID = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    MESSAGE_ID_RESPONDED_TO = 0x0120
    PRIORITY = 0x0700
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    AFFECTED_SOP_INSTANCE_UID = 0x1000
    REQUESTED_SOP_INSTANCE_UID = 0x1001
    EVENT_TYPE_ID = 0x1002
    ACTION_TYPE_ID = 0x1008


class CommandField(IntEnum):
    """Requests that we send, and the one that a peer may send to us."""

    C_STORE = 0x0001
    C_FIND = 0x0020
    C_ECHO = 0x0030
    N_EVENT_REPORT = 0x0100
    N_ACTION = 0x0130


@dataclass(frozen=True, kw_only=True)
class Command:
    """A message from the peer, as far as anybody here asks."""

    field: int
    #: Its own, or of a response that of the request.
    message_id: int
    has_data_set: bool
    #: 0 for a request.
    status: int
    #: The peer's words: they may name a patient.
    comment: str
    #: The affected one; the peer's words, unchecked.
    sop_class_uid: str
    sop_instance_uid: str
    event_type: int

    @property
    def is_response(self) -> bool:
        """Whether it answers a request of ours."""
        return bool(self.field & _RESPONSE)


def command_set(field: CommandField, elements: Mapping[Tag, int | str], *, has_data_set: bool) -> bytes:
    """A request."""
    return _encoded(
        {
            **elements,
            Tag.COMMAND_FIELD: field,
            Tag.DATA_SET_TYPE: _SOME_DATA_SET if has_data_set else _NO_DATA_SET,
        }
    )


def response(request: Command, status: int) -> bytes:
    """The answer to a request of the peer; it never has a data set."""
    return _encoded(
        {
            Tag.AFFECTED_SOP_CLASS_UID: request.sop_class_uid,
            Tag.COMMAND_FIELD: request.field | _RESPONSE,
            Tag.MESSAGE_ID_RESPONDED_TO: request.message_id,
            Tag.DATA_SET_TYPE: _NO_DATA_SET,
            Tag.STATUS: status,
            Tag.AFFECTED_SOP_INSTANCE_UID: request.sop_instance_uid,
            Tag.EVENT_TYPE_ID: request.event_type,
        }
    )


def read_command(content: bytes | bytearray) -> Command:
    """The command in a whole command set.

    Raises:
        Violation: it is malformed.
    """
    elements = _elements(bytes(content))
    field = _number(elements, Tag.COMMAND_FIELD)
    is_response = bool(field & _RESPONSE)
    return Command(
        field=field,
        message_id=_number(elements, Tag.MESSAGE_ID_RESPONDED_TO if is_response else Tag.MESSAGE_ID),
        has_data_set=_number(elements, Tag.DATA_SET_TYPE) != _NO_DATA_SET,
        status=_number(elements, Tag.STATUS) if is_response else 0,
        comment=_text(elements, Tag.ERROR_COMMENT),
        sop_class_uid=_text(elements, Tag.AFFECTED_SOP_CLASS_UID),
        sop_instance_uid=_text(elements, Tag.AFFECTED_SOP_INSTANCE_UID),
        event_type=_number(elements, Tag.EVENT_TYPE_ID, default=0),
    )


def _elements(content: bytes) -> dict[int, bytes]:
    """Values by element number; the group length is not believed."""
    elements: dict[int, bytes] = {}
    offset = 0
    while offset < len(content):
        if len(content) - offset < _ELEMENT.size:
            raise Violation("a command set with an element without its header")
        group, number, length = _ELEMENT.unpack_from(content, offset)
        start, offset = offset + _ELEMENT.size, offset + _ELEMENT.size + length
        if group != 0 or offset > len(content):
            raise Violation("a command set with an element of another group, or longer than the set")
        elements[number] = content[start:offset]
    return elements


def _number(elements: Mapping[int, bytes], element: Tag, *, default: int | None = None) -> int:
    value = elements.get(element)
    if value is None and default is not None:
        return default
    if value is None or len(value) != _US.size:
        raise Violation("a command set with a number that is missing or not two bytes long")
    return int(_US.unpack(value)[0])


def _text(elements: Mapping[int, bytes], element: Tag) -> str:
    # Of Latin-1 every byte is a character.
    return elements.get(element, b"").decode("latin-1").strip("\0 ")


def _encoded(elements: Mapping[Tag, int | str]) -> bytes:
    content = b"".join(_element(tag, elements[tag]) for tag in sorted(elements))
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<L", len(content)) + content


def _element(tag: Tag, value: int | str) -> bytes:
    if isinstance(value, int):
        encoded = _US.pack(value)
    else:
        encoded = value.encode("latin-1", errors="replace")
        encoded += b"\0" * (len(encoded) % 2)
    return _ELEMENT.pack(0, tag, len(encoded)) + encoded
