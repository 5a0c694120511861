"""DIMSE messages as they come out of an association: a command set, then perhaps a data set (PS3.7 6.3, PS3.8 annex E).

Fragments are handed on where they lie in the receive buffer, one at a time, and are gone with the next one.
"""

from collections.abc import Container, Iterator

from ichd.domain.errors import IchdError
from ichd.intake.dimse.command import LONGEST_COMMAND_SET, Command, read_command
from ichd.intake.dimse.pdu import COMMAND, LAST, AbortReason, PduType, PeerGone, Violation, next_pdv
from ichd.intake.dimse.wire import Wire


class Released(IchdError):
    """The peer asked for the end of the association, between two messages."""


class Messages:
    """Reads one association; for one thread."""

    def __init__(self, wire: Wire, context_ids: Container[int]) -> None:
        self._wire = wire
        self._context_ids = context_ids
        self._body = memoryview(b"")
        self._offset = 0
        #: From the first byte of a message until whoever reads has said that it is answered.
        self.under_way = False

    def next_command(self) -> tuple[int, Command]:
        """Presentation context ID and command of the next message.

        Raises:
            Released: there is none.
            PeerGone: there is none, and nobody says so.
            Violation: the peer does not keep to the protocol.
        """
        content = bytearray()
        asked_in: int | None = None
        while True:
            context_id, control, fragment = self._next_pdv()
            self.under_way = True
            if not control & COMMAND:
                raise Violation(AbortReason.UNEXPECTED_PARAMETER, "a data set without a command")
            if asked_in not in (None, context_id):
                raise Violation(AbortReason.UNEXPECTED_PARAMETER, "a command in two presentation contexts")
            asked_in = context_id
            content += fragment
            if len(content) > LONGEST_COMMAND_SET:
                raise Violation(AbortReason.INVALID_PARAMETER_VALUE, "a command set that does not end")
            if control & LAST:
                return context_id, read_command(content)

    def data_set(self, context_id: int) -> Iterator[memoryview]:
        """The fragments of the data set that follows a command in that context.

        Raises:
            PeerGone: it breaks off.
            Violation: the peer does not keep to the protocol.
        """
        while True:
            found, control, fragment = self._next_pdv()
            if found != context_id or control & COMMAND:
                raise Violation(AbortReason.UNEXPECTED_PARAMETER, "something else in the middle of a data set")
            if len(fragment):
                yield fragment
            if control & LAST:
                return

    def _next_pdv(self) -> tuple[int, int, memoryview]:
        if self._offset == len(self._body):
            self._body, self._offset = self._next_data_pdu(), 0
        context_id, control, fragment, self._offset = next_pdv(self._body, self._offset)
        if context_id not in self._context_ids:
            raise Violation(AbortReason.INVALID_PARAMETER_VALUE, "a presentation context that was not accepted")
        return context_id, control, fragment

    def _next_data_pdu(self) -> memoryview:
        kind, body = self._wire.read_pdu()
        if kind == PduType.P_DATA_TF:
            return body
        if kind == PduType.ABORT:
            raise PeerGone("the peer aborted")
        if kind == PduType.RELEASE_RQ and not self.under_way:
            raise Released
        known = kind in PduType.__members__.values()
        reason = AbortReason.UNEXPECTED_PDU if known else AbortReason.UNRECOGNISED_PDU
        raise Violation(reason, f"PDU type {kind:#04x} here")
