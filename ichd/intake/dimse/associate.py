"""A-ASSOCIATE-RQ read, A-ASSOCIATE-AC and -RJ written (PS3.8 9.3.2 to 9.3.4).

Our own, because this is the first thing that a stranger sends: what it may cost is bounded here, item by item. What an
acceptor may leave unanswered is not read: asynchronous operations, extended negotiation, user identity.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ichd.intake.dimse.pdu import HEADER, AbortReason, PduType, Violation
from ichd.intake.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

#: One with 128 presentation contexts of 50 transfer syntaxes each is about 200 kB long.
LONGEST_REQUEST = 256 << 10

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
#: Presentation context IDs are odd and fit into a byte.
_MOST_CONTEXTS = 128
_MOST_SYNTAXES = 128
_MOST_USER_ITEMS = 1024

_FIXED = struct.Struct(">HH16s16s32s")
_ITEM = struct.Struct(">BxH")

_APPLICATION_CONTEXT_ITEM = 0x10
_CONTEXT_RQ_ITEM = 0x20
_CONTEXT_AC_ITEM = 0x21
_ABSTRACT_SYNTAX_ITEM = 0x30
_TRANSFER_SYNTAX_ITEM = 0x40
_USER_INFORMATION_ITEM = 0x50
_MAXIMUM_LENGTH_ITEM = 0x51
_IMPLEMENTATION_CLASS_ITEM = 0x52
_ROLE_SELECTION_ITEM = 0x54
_IMPLEMENTATION_VERSION_ITEM = 0x55


@dataclass(frozen=True, kw_only=True)
class ProposedContext:
    """One SOP class, and the encodings in which the peer can send it."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AnsweredContext:
    """What became of it (PS3.8 table 9-18): 0 accepted, 3 and 4 not."""

    context_id: int
    result: int
    #: Means nothing unless accepted, and must stand there all the same.
    transfer_syntax: str


@dataclass(frozen=True, kw_only=True)
class RoleSelection:
    """Which end of a service the one who asks for the association wants to be (PS3.7 D.3.3.4)."""

    sop_class_uid: str
    user: bool
    provider: bool


@dataclass(frozen=True, kw_only=True)
class AssociateRequest:
    """A request for an association."""

    protocol_version: int
    #: Both as they came, to be repeated; and the reserved bytes, which must be repeated too.
    called: bytes
    calling: bytes
    reserved: bytes
    application_context: str
    contexts: tuple[ProposedContext, ...]
    #: Longest PDU that the peer takes, bytes; 0 for no limit.
    max_pdu: int
    #: In the order in which they came, at most one of a SOP class.
    roles: tuple[RoleSelection, ...] = ()

    @property
    def called_ae_title(self) -> str:
        """By which name we are called."""
        return _ae_title(self.called)

    @property
    def calling_ae_title(self) -> str:
        """Who calls."""
        return _ae_title(self.calling)


def read_request(body: memoryview) -> AssociateRequest:
    """The request in a PDU without its header.

    Raises:
        Violation: it is malformed, or larger than any that makes sense.
    """
    if len(body) < _FIXED.size:
        raise Violation(AbortReason.INVALID_PARAMETER_VALUE, "an association request that ends early")
    version, _, called, calling, reserved = _FIXED.unpack_from(body)
    application_context = ""
    contexts: list[ProposedContext] = []
    max_pdu = 0
    roles: tuple[RoleSelection, ...] = ()
    for kind, value in _items(body[_FIXED.size :], most=_MOST_CONTEXTS + 64):
        if kind == _APPLICATION_CONTEXT_ITEM:
            application_context = _uid(value)
        elif kind == _CONTEXT_RQ_ITEM:
            contexts.append(_proposed(value))
        elif kind == _USER_INFORMATION_ITEM:
            max_pdu, roles = _user_information(value)
    if len(contexts) > _MOST_CONTEXTS or len({context.context_id for context in contexts}) < len(contexts):
        raise Violation(AbortReason.INVALID_PARAMETER_VALUE, "presentation context IDs that are not unique")
    return AssociateRequest(
        protocol_version=version,
        called=called,
        calling=calling,
        reserved=reserved,
        application_context=application_context,
        contexts=tuple(contexts),
        max_pdu=max_pdu,
        roles=roles,
    )


def acceptance(
    request: AssociateRequest,
    contexts: Sequence[AnsweredContext],
    *,
    max_pdu: int,
    roles: Sequence[RoleSelection] = (),
) -> bytes:
    """A-ASSOCIATE-AC; `max_pdu` is the longest PDU that we take, `roles` are those that the peer may have."""
    user_information = b"".join(
        (
            _item(_MAXIMUM_LENGTH_ITEM, struct.pack(">L", max_pdu)),
            _item(_IMPLEMENTATION_CLASS_ITEM, IMPLEMENTATION_CLASS_UID.encode("ascii")),
            *(_item(_ROLE_SELECTION_ITEM, _selected(role)) for role in roles),
            _item(_IMPLEMENTATION_VERSION_ITEM, IMPLEMENTATION_VERSION_NAME.encode("ascii")),
        )
    )
    body = b"".join(
        (
            _FIXED.pack(1, 0, request.called, request.calling, request.reserved),
            _item(_APPLICATION_CONTEXT_ITEM, APPLICATION_CONTEXT.encode("ascii")),
            *(_answered(context) for context in contexts),
            _item(_USER_INFORMATION_ITEM, user_information),
        )
    )
    return HEADER.pack(PduType.ASSOCIATE_AC, len(body)) + body


def rejection(result: int, source: int, diagnostic: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 table 9-21)."""
    return HEADER.pack(PduType.ASSOCIATE_RJ, 4) + bytes((0, result, source, diagnostic))


def _items(body: memoryview, *, most: int) -> Iterator[tuple[int, memoryview]]:
    offset = 0
    for _ in range(most):
        if offset == len(body):
            return
        if len(body) - offset < _ITEM.size:
            break
        kind, length = _ITEM.unpack_from(body, offset)
        start = offset + _ITEM.size
        offset = start + length
        if offset > len(body):
            break
        yield kind, body[start:offset]
    if offset != len(body):
        raise Violation(AbortReason.INVALID_PARAMETER_VALUE, "items that do not fill their place, or too many of them")


def _proposed(value: memoryview) -> ProposedContext:
    if len(value) < 4 or value[0] % 2 == 0:
        raise Violation(AbortReason.INVALID_PARAMETER_VALUE, "a presentation context without an odd ID")
    abstract_syntax = ""
    transfer_syntaxes: list[str] = []
    for kind, uid in _items(value[4:], most=_MOST_SYNTAXES + 1):
        if kind == _ABSTRACT_SYNTAX_ITEM:
            abstract_syntax = _uid(uid)
        elif kind == _TRANSFER_SYNTAX_ITEM:
            transfer_syntaxes.append(_uid(uid))
    return ProposedContext(
        context_id=value[0], abstract_syntax=abstract_syntax, transfer_syntaxes=tuple(transfer_syntaxes)
    )


def _user_information(value: memoryview) -> tuple[int, tuple[RoleSelection, ...]]:
    """Maximum length, and the roles that are proposed."""
    max_pdu = 0
    roles: dict[str, RoleSelection] = {}
    for kind, content in _items(value, most=_MOST_USER_ITEMS):
        if kind == _MAXIMUM_LENGTH_ITEM:
            if len(content) != 4:
                raise Violation(AbortReason.INVALID_PARAMETER_VALUE, "a maximum length of other than four bytes")
            max_pdu = int.from_bytes(content, "big")
        elif kind == _ROLE_SELECTION_ITEM:
            role = _role(content)
            roles.setdefault(role.sop_class_uid, role)
    return max_pdu, tuple(roles.values())


def _role(content: memoryview) -> RoleSelection:
    """PS3.7 table D.3-9: length of the UID, the UID, a byte for each role."""
    length = int.from_bytes(content[:2], "big")
    if len(content) != 2 + length + 2:
        raise Violation(AbortReason.INVALID_PARAMETER_VALUE, "a role selection that does not fill its place")
    user, provider = content[-2:]
    return RoleSelection(sop_class_uid=_uid(content[2:-2]), user=user == 1, provider=provider == 1)


def _selected(role: RoleSelection) -> bytes:
    uid = role.sop_class_uid.encode("ascii")
    return struct.pack(">H", len(uid)) + uid + bytes((role.user, role.provider))


def _answered(context: AnsweredContext) -> bytes:
    head = bytes((context.context_id, 0, context.result, 0))
    return _item(_CONTEXT_AC_ITEM, head + _item(_TRANSFER_SYNTAX_ITEM, context.transfer_syntax.encode("ascii")))


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


def _uid(value: memoryview) -> str:
    """Some pad UIDs here too, to an even length, which PS3.8 annex F forbids."""
    return bytes(value[:65]).decode("ascii", errors="replace").rstrip("\0 ")


def _ae_title(value: bytes) -> str:
    """Without its padding. Control characters have no place in logs, nor in a database."""
    text = value.decode("ascii", errors="replace").rstrip("\0 ").lstrip(" ")
    return "".join(character if " " <= character <= "~" else "?" for character in text)
