"""Protocol data units of the DICOM Upper Layer (PS3.8 9.3), as far as an acceptor speaks them outside negotiation."""

import struct
from enum import IntEnum

from ichd.domain.errors import IchdError

#: PDU type, a reserved byte, and the length of what follows.
HEADER = struct.Struct(">BxL")
#: Length of a presentation data value item, its presentation context ID and its message control header.
_PDV_HEADER = struct.Struct(">LBB")
_PDV_OVERHEAD = _PDV_HEADER.size

#: Message control header (PS3.8 annex E.2).
COMMAND = 0x01
LAST = 0x02


class PduType(IntEnum):
    """What a PDU is."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class AbortReason(IntEnum):
    """Why the service provider aborts (PS3.8 table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNISED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNISED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER_VALUE = 6


class Violation(IchdError):
    """The peer does not keep to the protocol: the association is aborted.

    The words name rules and numbers, and never bytes of the peer.
    """

    def __init__(self, reason: AbortReason, words: str) -> None:
        self.reason = reason
        super().__init__(words)


class PeerGone(IchdError):
    """The connection ended without a word, or with an abort."""


class PeerSilent(PeerGone):
    """Nothing, or not all of a PDU, came in time."""


def abort_by_provider(reason: AbortReason) -> bytes:
    """A-ABORT because of what the peer did."""
    return HEADER.pack(PduType.ABORT, 4) + bytes((0, 0, 2, reason))


def abort_by_user() -> bytes:
    """A-ABORT because we want to stop."""
    return HEADER.pack(PduType.ABORT, 4) + bytes(4)


def release_response() -> bytes:
    """A-RELEASE-RP."""
    return HEADER.pack(PduType.RELEASE_RP, 4) + bytes(4)


def command_pdus(context_id: int, command_set: bytes, *, longest: int) -> bytes:
    """A command set as P-DATA-TFs that are at most `longest` bytes long each, header excluded; 0 for no limit."""
    # A peer that takes less than a header and two bytes can't be spoken to at all; it gets the shortest ones there are.
    room = max(longest - _PDV_OVERHEAD, 2) if longest else len(command_set)
    pdus = []
    for start in range(0, len(command_set), room):
        fragment = command_set[start : start + room]
        control = COMMAND | (LAST if start + room >= len(command_set) else 0)
        pdus.append(HEADER.pack(PduType.P_DATA_TF, len(fragment) + _PDV_OVERHEAD))
        # The length counts the context ID and the control header, not itself.
        pdus.append(_PDV_HEADER.pack(len(fragment) + 2, context_id, control))
        pdus.append(fragment)
    return b"".join(pdus)


def next_pdv(body: memoryview, offset: int) -> tuple[int, int, memoryview, int]:
    """Presentation context ID, message control header and fragment at `offset` of a P-DATA-TF, and where it ends.

    Raises:
        Violation: the item does not fit into its PDU.
    """
    if len(body) - offset < _PDV_OVERHEAD:
        raise Violation(AbortReason.INVALID_PARAMETER_VALUE, "a presentation data value without its header")
    length, context_id, control = _PDV_HEADER.unpack_from(body, offset)
    end = offset + 4 + length
    if length < 2 or end > len(body):
        raise Violation(AbortReason.INVALID_PARAMETER_VALUE, "a presentation data value longer than its PDU")
    return context_id, control, body[offset + _PDV_OVERHEAD : end], end
