"""An N-EVENT-REPORT of storage commitment, on an association that we open (PS3.4 J.3.3).

The provider of the service opens it, so it asks for the role of the SCP (PS3.7 D.3.3.4). A peer that takes the context
and says nothing of roles gets its report all the same: who listens there for storage commitment waits for just that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from ichd.intake.ask.association import associated, failed, service, status_of
from ichd.intake.ask.sources import DimseSource
from ichd.intake.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from ichd.store.commitments import Reference

_SUCCESS = 0x0000
#: Event types (PS3.4 J.3.3.1.1).
_ALL_COMMITTED, _SOME_FAILED = 1, 2


class FailureReason(IntEnum):
    """Why an image is not committed (PS3.3 C.14)."""

    #: It is stored, but its file is not what it was.
    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    CLASS_INSTANCE_CONFLICT = 0x0119


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is true of the images of one request."""

    transaction_uid: str
    committed: Sequence[Reference]
    failed: Sequence[tuple[Reference, FailureReason]]


def event_of(verdict: Verdict) -> tuple[int, Dataset]:
    """Event type and event information (PS3.4 table J.3-2); a sequence without items is left out."""
    information = Dataset()
    information.TransactionUID = verdict.transaction_uid
    if verdict.committed:
        information.ReferencedSOPSequence = Items([_item(reference) for reference in verdict.committed])
    if verdict.failed:
        information.FailedSOPSequence = Items([_item(reference, reason) for reference, reason in verdict.failed])
    return (_SOME_FAILED if verdict.failed else _ALL_COMMITTED), information


def report(source: DimseSource, verdict: Verdict) -> None:
    """Tell who asked; returns once it has taken the answer.

    Raises:
        SettingsError, Transient, Permanent: it was not told; any of them may be mended, there or in our settings.
    """
    event_type, information = event_of(verdict)
    with associated(source, [service(PUSH_MODEL)], stores=[PUSH_MODEL]) as association:
        answer, _ = association.send_n_event_report(information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        status = status_of(source, answer)
        if status != _SUCCESS:
            raise failed(source, status, "N-EVENT-REPORT")


def _item(reference: Reference, reason: FailureReason | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if reason is not None:
        item.FailureReason = int(reason)
    return item
