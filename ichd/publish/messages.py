"""DIMSE messages put together from their fragments (PS3.7 6.3.1, PS3.8 annex E)."""

from collections.abc import Mapping
from dataclasses import dataclass

from ichd.publish.command import LONGEST_COMMAND_SET, Command, read_command
from ichd.publish.pdu import COMMAND, LAST, Context, Violation, read_fragments

#: Of what comes back: an identifier, or what was committed.
_LONGEST_DATA_SET = 4 << 20


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message from the peer."""

    command: Command
    context: Context
    #: Encoded as the context says; empty where there is none.
    data_set: bytes


class Assembly:
    """One message on its way, of one of the accepted contexts."""

    def __init__(self, accepted: Mapping[int, Context]) -> None:
        self._accepted = accepted
        self._context: Context | None = None
        self._command: Command | None = None
        self._content = bytearray()

    def add(self, body: bytes) -> Message | None:
        """Take the fragments of a P-DATA-TF without its header; the message, once it is whole.

        Raises:
            Violation: they are not fragments of one message, or of one that is too long.
        """
        whole: Message | None = None
        for context_id, control, fragment in read_fragments(body):
            if whole is not None:
                # Nobody may send on before what was asked is answered, and a peer asks one thing at a time.
                raise Violation("more than one message in a PDU")
            whole = self._add(context_id, control, fragment)
        return whole

    def _add(self, context_id: int, control: int, fragment: bytes) -> Message | None:
        context = self._accepted.get(context_id)
        if context is None or (self._context is not None and context is not self._context):
            raise Violation("a presentation context that is not that of the message")
        self._context = context
        is_command = bool(control & COMMAND)
        if is_command is not (self._command is None):
            raise Violation("a command set and a data set in the wrong order")
        self._content += fragment
        if len(self._content) > (LONGEST_COMMAND_SET if is_command else _LONGEST_DATA_SET):
            raise Violation("a message that is too long")
        if not control & LAST:
            return None
        command = self._command
        if command is None:
            command, self._content = read_command(self._content), bytearray()
            if command.has_data_set:
                self._command = command
                return None
        return Message(command=command, context=context, data_set=bytes(self._content))
