"""C-ECHO (PS3.4 annex A): whether a peer is there."""

from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason
from ichd.publish.association import associated_with, in_all_syntaxes, required
from ichd.publish.command import CommandField, Tag
from ichd.publish.peer import DimsePeer

#: Verification SOP Class, C-ECHO.
VERIFICATION = "1.2.840.10008.1.1"


def echo(peer: DimsePeer) -> None:
    """Ask the peer whether it is there (C-ECHO).

    Raises:
        Transient, Permanent: as `ichd.publish.peer` has them.
    """
    with associated_with(peer, in_all_syntaxes([VERIFICATION])) as association:
        context = required(peer, association, VERIFICATION, "C-ECHO")
        answer = association.ask(context, CommandField.C_ECHO, {Tag.AFFECTED_SOP_CLASS_UID: VERIFICATION})
        if answer.command.status != 0x0000:
            raise Permanent(Reason.PEER_REFUSED, f"{peer} answered C-ECHO with 0x{answer.command.status:04X}")
