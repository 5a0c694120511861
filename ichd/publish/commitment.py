"""Storage commitment, asked for (PS3.4 annex J)."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.sequence import Sequence as Items

from ichd.domain.delivery import Outgoing
from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.association import associated_with, in_all_syntaxes
from ichd.publish.command import CommandField, Tag
from ichd.publish.identifier import UNREADABLE, decoded, encoded
from ichd.publish.messages import Message
from ichd.publish.peer import DimsePeer, Verdict, judge_status

#: Storage Commitment Push Model, and its well-known instance (PS3.4 J.3.5).
PUSH_MODEL = "1.2.840.10008.1.20.1"
_PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
#: Request Storage Commitment (PS3.4 J.3.2.1.1).
_REQUEST_COMMITMENT = 1
_SUCCESS = 0x0000
#: Unrecognised operation, no such event type, processing failure (PS3.7 annex C).
_UNRECOGNISED_OPERATION, _NO_SUCH_EVENT_TYPE, _PROCESSING_FAILURE = 0x0211, 0x0113, 0x0110
#: Event types (PS3.4 J.3.3.1.1): all committed; some failed.
_EVENT_TYPES = frozenset({1, 2})


@dataclass(frozen=True, kw_only=True)
class CommitmentReport:
    """What a peer takes responsibility for, of one request."""

    transaction_uid: str
    #: SOP Instance UIDs.
    committed: tuple[str, ...]
    #: SOP Instance UID and Failure Reason (PS3.3 C.14).
    failed: tuple[tuple[str, int], ...]


def request(
    peer: DimsePeer, transaction_uid: str, objects: Sequence[Outgoing], *, patience_s: float
) -> CommitmentReport | None:
    """Ask the peer to take responsibility; its report where it comes on the same association within `patience_s`.

    The roles are the usual ones, with us as the user of the service, and N-EVENT-REPORT comes from its provider: so
    no roles are negotiated here. The peer does that where it opens an association for its report (PS3.4 J.3.3).

    Raises:
        Transient: the same request may succeed later.
        Permanent: NOT_COMMITTED, the peer does not offer storage commitment, or not for this.
    """
    with associated_with(peer, in_all_syntaxes([PUSH_MODEL])) as association:
        context = association.context(PUSH_MODEL)
        if context is None:
            raise Permanent(Reason.NOT_COMMITTED, f"{peer} does not offer storage commitment")
        asked = association.ask(
            context,
            CommandField.N_ACTION,
            {
                Tag.REQUESTED_SOP_CLASS_UID: PUSH_MODEL,
                Tag.REQUESTED_SOP_INSTANCE_UID: _PUSH_MODEL_INSTANCE,
                Tag.ACTION_TYPE_ID: _REQUEST_COMMITMENT,
            },
            encoded(_action_information(transaction_uid, objects), context),
        )
        _require_taken(peer, asked.command.status)
        until = time.monotonic() + patience_s
        while (message := association.next_request(patience_s=until - time.monotonic())) is not None:
            status, report = _read(message)
            association.answer(message, status)
            if report is not None and report.transaction_uid == transaction_uid:
                return report
    return None


def _action_information(transaction_uid: str, objects: Sequence[Outgoing]) -> Dataset:
    """PS3.4 table J.3-1."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = Items([_reference(each) for each in objects])
    return information


def _reference(each: Outgoing) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = each.sop_class_uid
    item.ReferencedSOPInstanceUID = each.sop_instance_uid
    return item


def _require_taken(peer: DimsePeer, status: int) -> None:
    match judge_status(status):
        case Verdict.BUSY:
            raise Transient(Reason.PEER_BUSY, f"{peer} answered N-ACTION with 0x{status:04X}")
        case Verdict.REFUSED:
            raise Permanent(Reason.NOT_COMMITTED, f"{peer} answered N-ACTION with 0x{status:04X}")
        case Verdict.STORED:
            return


def _read(message: Message) -> tuple[int, CommitmentReport | None]:
    """The status to answer an N-EVENT-REPORT with, and what it says (PS3.4 table J.3-2)."""
    if message.command.field != CommandField.N_EVENT_REPORT:
        return _UNRECOGNISED_OPERATION, None
    if message.command.event_type not in _EVENT_TYPES:
        return _NO_SUCH_EVENT_TYPE, None
    try:
        information = decoded(message)
        report = CommitmentReport(
            transaction_uid=str(information.TransactionUID),
            committed=tuple(
                str(item.ReferencedSOPInstanceUID) for item in information.get("ReferencedSOPSequence") or ()
            ),
            failed=tuple(
                (str(item.ReferencedSOPInstanceUID), int(item.FailureReason))
                for item in information.get("FailedSOPSequence") or ()
            ),
        )
    except UNREADABLE:
        return _PROCESSING_FAILURE, None
    return _SUCCESS, report
