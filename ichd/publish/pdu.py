"""Protocol data units of the DICOM Upper Layer (PS3.8 9.3), as the side speaks them that asks for an association."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from ichd.domain.errors import IchdError

#: PDU type, a reserved byte, and the length of what follows.
HEADER = struct.Struct(">BxL")
#: Length of a presentation data value item, its presentation context ID and its message control header.
_PDV_HEADER = struct.Struct(">LBB")
#: A PDU with one item: all that stands before the fragment.
_FRAGMENT_HEADER = struct.Struct(">BxLLBB")
_FIXED = struct.Struct(">HH16s16s32x")
_ITEM = struct.Struct(">BxH")

#: Message control header (PS3.8 annex E.2).
COMMAND = 0x01
LAST = 0x02

#: Presentation context IDs are odd and fit into a byte (PS3.8 9.3.2.2).
MAX_CONTEXTS = 128
#: What we advertise, for the bodies of P-DATA-TF (PS3.8 D.1).
OUR_MAX_PDU = 131072
#: Some peers exceed what was advertised, and an A-ASSOCIATE-AC is bound by nothing else.
LONGEST_PDU = 1 << 20
#: Fragments longer than this gain nothing.
_LONGEST_FRAGMENT = 131072
#: Fragments are written so many bytes at a time: few calls, and no second copy of a large object.
_AT_ONCE = 1 << 20

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
#: Names this implementation (PS3.7 D.3.3.2), here as where images are taken in.
_IMPLEMENTATION_CLASS_UID = "2.25.85222476386257362570743422347361750621"
_IMPLEMENTATION_VERSION_NAME = "ICHD"

_APPLICATION_CONTEXT_ITEM = 0x10
_CONTEXT_RQ_ITEM = 0x20
_CONTEXT_AC_ITEM = 0x21
_ABSTRACT_SYNTAX_ITEM = 0x30
_TRANSFER_SYNTAX_ITEM = 0x40
_USER_INFORMATION_ITEM = 0x50
_MAXIMUM_LENGTH_ITEM = 0x51
_IMPLEMENTATION_CLASS_ITEM = 0x52
_IMPLEMENTATION_VERSION_ITEM = 0x55


class PduType(IntEnum):
    """What a PDU is."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class Violation(IchdError):
    """The peer does not keep to the protocol. The words name rules and numbers, and never bytes of the peer."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """A presentation context: what may be sent, and in which encoding."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What the peer agreed to."""

    #: Transfer syntax by the ID of each context that it accepted.
    transfer_syntaxes: Mapping[int, str]
    #: Longest body of a P-DATA-TF that it takes, bytes; 0 for no limit.
    max_pdu: int


def associate_request(*, called: str, calling: str, contexts: Sequence[Context]) -> bytes:
    """A-ASSOCIATE-RQ (PS3.8 9.3.2). Roles are the usual ones, so that none are asked for (PS3.7 D.3.3.4)."""
    user_information = b"".join(
        (
            _item(_MAXIMUM_LENGTH_ITEM, struct.pack(">L", OUR_MAX_PDU)),
            _item(_IMPLEMENTATION_CLASS_ITEM, _IMPLEMENTATION_CLASS_UID.encode("ascii")),
            _item(_IMPLEMENTATION_VERSION_ITEM, _IMPLEMENTATION_VERSION_NAME.encode("ascii")),
        )
    )
    body = b"".join(
        (
            _FIXED.pack(1, 0, _padded(called), _padded(calling)),
            _item(_APPLICATION_CONTEXT_ITEM, _APPLICATION_CONTEXT.encode("ascii")),
            *(_proposed(context) for context in contexts),
            _item(_USER_INFORMATION_ITEM, user_information),
        )
    )
    return HEADER.pack(PduType.ASSOCIATE_RQ, len(body)) + body


def read_acceptance(body: bytes) -> Acceptance:
    """The A-ASSOCIATE-AC in a PDU without its header (PS3.8 9.3.3).

    Raises:
        Violation: it is malformed.
    """
    if len(body) < _FIXED.size:
        raise Violation("an association acceptance that ends early")
    transfer_syntaxes: dict[int, str] = {}
    max_pdu = 0
    for kind, value in _items(body[_FIXED.size :]):
        if kind == _CONTEXT_AC_ITEM:
            if len(value) < 4:
                raise Violation("a presentation context without its result")
            context_id, result = value[0], value[2]
            # Of a context that was not accepted, the transfer syntax means nothing.
            if result == 0:
                transfer_syntaxes[context_id] = _transfer_syntax(value[4:])
        elif kind == _USER_INFORMATION_ITEM:
            for inner, content in _items(value):
                if inner == _MAXIMUM_LENGTH_ITEM:
                    max_pdu = int.from_bytes(content[:4], "big")
    return Acceptance(transfer_syntaxes=transfer_syntaxes, max_pdu=max_pdu)


def rejection_words(body: bytes) -> str:
    """Result, source and reason of an A-ASSOCIATE-RJ in words (PS3.8 table 9-21)."""
    if len(body) < 4:
        return "no reason given"
    _, result, source, reason = body[:4]
    known = _REASONS.get((source, reason), f"source {source}, reason {reason}")
    return f"{'for now' if result == 2 else 'for good'}: {known}"


_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "it does not know our application context",
    (1, 3): "it does not know our calling AE title",
    (1, 7): "it has not the called AE title",
    (2, 1): "no reason given",
    (2, 2): "it does not know our protocol version",
    (3, 1): "it has too much to do",
    (3, 2): "it has reached its limit of associations",
}


def release_request() -> bytes:
    """A-RELEASE-RQ."""
    return HEADER.pack(PduType.RELEASE_RQ, 4) + bytes(4)


def release_response() -> bytes:
    """A-RELEASE-RP."""
    return HEADER.pack(PduType.RELEASE_RP, 4) + bytes(4)


def abort() -> bytes:
    """A-ABORT, because we want to stop."""
    return HEADER.pack(PduType.ABORT, 4) + bytes(4)


def fragments(context_id: int, content: bytes | memoryview, *, control: int, max_pdu: int) -> Iterator[bytes]:
    """A command set (`control` is COMMAND) or a data set (0) as P-DATA-TFs, several of them at a time."""
    # A peer that takes less than a header and two bytes can't be spoken to at all; it gets the shortest ones there are.
    room = min(max(max_pdu - _PDV_HEADER.size, 2) if max_pdu else _LONGEST_FRAGMENT, _LONGEST_FRAGMENT)
    view = memoryview(content)
    # An empty one is one empty fragment.
    starts = range(0, max(len(view), 1), room)
    gathered: list[bytes | memoryview] = []
    size = 0
    for start in starts:
        fragment = view[start : start + room]
        last = LAST if start == starts[-1] else 0
        length = len(fragment)
        # The item's length counts the context ID and the control header, not itself.
        gathered.append(
            _FRAGMENT_HEADER.pack(PduType.P_DATA_TF, length + _PDV_HEADER.size, length + 2, context_id, control | last)
        )
        gathered.append(fragment)
        size += length
        if last or size >= _AT_ONCE:
            yield b"".join(gathered)
            gathered, size = [], 0


def read_fragments(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Presentation context ID, message control header and fragment of each item in a P-DATA-TF without its header.

    Raises:
        Violation: an item does not fit into its PDU.
    """
    offset = 0
    while offset < len(body):
        if len(body) - offset < _PDV_HEADER.size:
            raise Violation("a presentation data value without its header")
        length, context_id, control = _PDV_HEADER.unpack_from(body, offset)
        start, offset = offset + _PDV_HEADER.size, offset + 4 + length
        if length < 2 or offset > len(body):
            raise Violation("a presentation data value longer than its PDU")
        yield context_id, control, body[start:offset]


def _proposed(context: Context) -> bytes:
    syntaxes = _item(_ABSTRACT_SYNTAX_ITEM, context.abstract_syntax.encode("ascii"))
    syntaxes += _item(_TRANSFER_SYNTAX_ITEM, context.transfer_syntax.encode("ascii"))
    return _item(_CONTEXT_RQ_ITEM, bytes((context.context_id, 0, 0, 0)) + syntaxes)


def _transfer_syntax(value: bytes) -> str:
    """Some pad UIDs here too, to an even length, which PS3.8 annex F forbids."""
    for kind, uid in _items(value):
        if kind == _TRANSFER_SYNTAX_ITEM:
            return uid[:65].decode("ascii", errors="replace").rstrip("\0 ")
    return ""


def _items(body: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(body):
        if len(body) - offset < _ITEM.size:
            raise Violation("an item without its header")
        kind, length = _ITEM.unpack_from(body, offset)
        start, offset = offset + _ITEM.size, offset + _ITEM.size + length
        if offset > len(body):
            raise Violation("an item longer than its place")
        yield kind, body[start:offset]


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


def _padded(ae_title: str) -> bytes:
    return ae_title.encode("ascii", errors="replace")[:16].ljust(16)
