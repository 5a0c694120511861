"""What a service is to the DIMSE door: a function from a request to an answer.

Normalised services (PS3.7 chapter 10), and C-STORE of objects that are no images and small enough to be held.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from ichd.intake.claim import Sender


class Operation(IntEnum):
    """The requests that a service may be asked, by Command Field (PS3.7 annex E)."""

    C_STORE = 0x0001
    N_EVENT_REPORT = 0x0100
    N_SET = 0x0120
    N_ACTION = 0x0130
    N_CREATE = 0x0140


class Status(IntEnum):
    """Answers that are not specific to a service (PS3.7 annex C)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    NO_SUCH_SOP_INSTANCE = 0x0112
    NO_SUCH_EVENT_TYPE = 0x0113
    INVALID_ARGUMENT_VALUE = 0x0115
    MISSING_ATTRIBUTE = 0x0120
    NO_SUCH_ACTION = 0x0123
    NOT_AUTHORIZED = 0x0124
    #: Of storage commitment (PS3.3 C.14).
    DUPLICATE_TRANSACTION_UID = 0x0131
    UNRECOGNISED_OPERATION = 0x0211
    RESOURCE_LIMITATION = 0x0213


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as it came."""

    operation: Operation
    sop_class_uid: str
    #: Affected or requested; empty where the sender leaves it to us (N-CREATE).
    sop_instance_uid: str
    #: Action Type ID or Event Type ID; 0 where the operation has none.
    type_id: int
    #: Encoded data set; empty where there is none.
    dataset: bytes
    transfer_syntax_uid: str
    sender: Sender
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the sender hears."""

    #: A `Status`, or one of the Storage Service (`ichd.intake.status`).
    status: int
    #: Error Comment; never a value of the data set.
    comment: str = ""


Service = Callable[[Request], Answer]


def by_operation(services: Mapping[Operation, Service]) -> Service:
    """One service of several that share a SOP class, as both ends of storage commitment do."""

    def accept(request: Request) -> Answer:
        service = services.get(request.operation)
        return Answer(status=Status.UNRECOGNISED_OPERATION) if service is None else service(request)

    return accept
