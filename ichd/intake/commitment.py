"""Storage commitment as a provider (PS3.4 annex J): the question.

An N-ACTION names images; the answer to it says only that the question was written down. Whether the images are safe is
said later, on an association of our own (`ichd.intake.commitment_report`).
"""

from collections.abc import Callable, Collection

import structlog

from ichd.domain.errors import Refused, Transient
from ichd.domain.reason import Reason
from ichd.intake.information import Information, decode, items_of, uid_of
from ichd.intake.refusals import Refusals
from ichd.intake.service import Answer, Operation, Request, Status
from ichd.store.arrivals import Arrivals
from ichd.store.commitments import Commitments, Filing, Reference

_log = structlog.get_logger(__name__)

#: Storage Commitment Push Model, and its well-known instance (PS3.4 J.3.5).
PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
#: Request Storage Commitment (PS3.4 J.3.2.1.1).
_REQUEST_COMMITMENT = 1
#: A CT study of thin slices in several kernels has 5,000 images.
MOST_REFERENCES = 10_000
#: Of one AE: a modality that asks for each image by itself has as many after a large study.
_MOST_PENDING = 10_000


class CommitmentRequests:
    """Takes requests for storage commitment of the AEs that we know how to answer. Safe for any number of threads."""

    def __init__(
        self,
        commitments: Commitments,
        arrivals: Arrivals,
        *,
        answerable: Collection[str],
        filed: Callable[[], None],
    ) -> None:
        self._commitments = commitments
        #: AE titles whose address is known: the answer goes there, not to wherever the question came from.
        self._answerable = frozenset(answerable)
        #: Called after a request was committed.
        self._filed = filed
        self._refusals = Refusals(arrivals)

    def accept(self, request: Request) -> Answer:
        """Write one request down; success is answered only once that is committed."""
        if request.operation is not Operation.N_ACTION:
            return Answer(status=Status.UNRECOGNISED_OPERATION)
        if request.sop_instance_uid != PUSH_MODEL_INSTANCE:
            return Answer(status=Status.NO_SUCH_SOP_INSTANCE, comment=f"the instance is {PUSH_MODEL_INSTANCE}")
        if request.type_id != _REQUEST_COMMITMENT:
            return Answer(status=Status.NO_SUCH_ACTION, comment=f"the action type is {_REQUEST_COMMITMENT}")
        if request.sender.calling_ae_title not in self._answerable:
            self._refuse(request)
            return Answer(status=Status.NOT_AUTHORIZED, comment="no [[source]] has this AE title")
        information = decode(request)
        if information is None:
            return Answer(status=Status.INVALID_ARGUMENT_VALUE, comment="the data set can't be read")
        return self._file(request, information)

    def _file(self, request: Request, information: Information) -> Answer:
        transaction_uid = uid_of(information, "TransactionUID")
        items = items_of(information, "ReferencedSOPSequence")
        if transaction_uid is None or not items:
            missing = "TransactionUID" if transaction_uid is None else "ReferencedSOPSequence"
            return Answer(status=Status.MISSING_ATTRIBUTE, comment=f"{missing} is missing or can't be read")
        if len(items) > MOST_REFERENCES:
            return Answer(status=Status.RESOURCE_LIMITATION, comment=f"at most {MOST_REFERENCES} images a request")
        references = tuple(dict.fromkeys(_reference(item) for item in items))
        if None in references:
            return Answer(status=Status.INVALID_ARGUMENT_VALUE, comment="a referenced UID is missing or is no UID")
        caller = request.sender.calling_ae_title
        try:
            filing = self._commitments.file(
                transaction_uid=transaction_uid,
                calling_ae_title=caller,
                address=request.sender.address,
                references=[reference for reference in references if reference],
                most_pending=_MOST_PENDING,
                now=request.received_at,
            )
        except Transient as error:
            _log.error("commitment_not_filed", reason=str(error.reason), detail=error.detail, calling_ae_title=caller)
            return Answer(status=Status.RESOURCE_LIMITATION, comment=str(error.reason))
        _log.info("commitment_requested", filing=str(filing), images=len(references), calling_ae_title=caller)
        if filing is Filing.TAKEN:
            return Answer(status=Status.DUPLICATE_TRANSACTION_UID, comment="the transaction UID names other images")
        if filing is Filing.TOO_MANY:
            return Answer(status=Status.RESOURCE_LIMITATION, comment="too many requests wait already")
        self._filed()
        return Answer(status=Status.SUCCESS)

    def _refuse(self, request: Request) -> None:
        """Where a user looks: a modality is set up to ask for commitment, and nobody told us where it listens."""
        error = Refused(Reason.SOURCE_UNKNOWN, "storage commitment")
        self._refusals.request(error, request.sender, sop_class_uid=PUSH_MODEL, now=request.received_at)


def _reference(item: Information) -> Reference | None:
    sop_class_uid, sop_instance_uid = uid_of(item, "ReferencedSOPClassUID"), uid_of(item, "ReferencedSOPInstanceUID")
    if sop_class_uid is None or sop_instance_uid is None:
        return None
    return Reference(sop_class_uid=sop_class_uid, sop_instance_uid=sop_instance_uid)
