"""What a peer holds, by C-FIND (PS3.4 C.4.1): the read-back of what we sent."""

from collections.abc import Sequence

import pydicom
from pydicom import Dataset

from ichd.domain.delivery import Outgoing
from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.association import Association, associated_with, in_all_syntaxes, required
from ichd.publish.command import CommandField, Tag
from ichd.publish.identifier import UNREADABLE, decoded, encoded
from ichd.publish.pdu import Context
from ichd.publish.peer import DimsePeer, failure

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_SUCCESS = 0x0000
_PENDING = frozenset({0xFF00, 0xFF01})
#: Matches of one SOP Instance UID; a peer that sends more ignores the keys.
_MOST_MATCHES = 100


def missing(peer: DimsePeer, study_instance_uid: str, objects: Sequence[Outgoing]) -> tuple[str, ...]:
    """SOP Instance UIDs of those objects that the peer does not list, in their order.

    Each is asked for by itself, below its series: matching by a list of UIDs is done wrongly here and there, and a
    query without the keys of the levels above is refused (PS3.4 C.4.1.2.1).

    Raises:
        Transient: the peer can't be asked now.
        Permanent: it can't be asked at all.
    """
    with associated_with(peer, in_all_syntaxes([STUDY_ROOT_FIND])) as association:
        context = required(peer, association, STUDY_ROOT_FIND, "C-FIND (Study Root)")
        return tuple(
            each.sop_instance_uid
            for each in objects
            if not _lists(peer, association, context, _question(study_instance_uid, each))
        )


def _question(study_instance_uid: str, each: Outgoing) -> Dataset:
    header = pydicom.dcmread(each.path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
    question = Dataset()
    question.QueryRetrieveLevel = "IMAGE"
    question.StudyInstanceUID = study_instance_uid
    question.SeriesInstanceUID = header.SeriesInstanceUID
    question.SOPInstanceUID = each.sop_instance_uid
    return question


def _lists(peer: DimsePeer, association: Association, context: Context, question: Dataset) -> bool:
    found = False
    message = association.ask(
        context,
        CommandField.C_FIND,
        {Tag.AFFECTED_SOP_CLASS_UID: context.abstract_syntax, Tag.PRIORITY: 0},
        encoded(question, context),
    )
    for _ in range(_MOST_MATCHES):
        status = message.command.status
        if status == _SUCCESS:
            return found
        if status not in _PENDING:
            raise failure(peer, status)
        try:
            # A peer that ignores the key lists others, too.
            found |= decoded(message).get("SOPInstanceUID") == question.SOPInstanceUID
        except UNREADABLE as error:
            raise Transient(Reason.PEER_CONFUSED, f"{peer} answered C-FIND with what is no data set") from error
        message = association.next_response()
    raise Permanent(Reason.PEER_REFUSED, f"{peer} lists one object more than {_MOST_MATCHES} times")
