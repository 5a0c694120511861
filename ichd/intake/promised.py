"""Storage commitment as a user (PS3.4 annex J): the answer, on an association that the destination opens.

We ask on an association of ours (`ichd.publish`); many archives look for an hour before they answer, on one of theirs.
There they are the provider still, so they propose the SCP's role for themselves.
"""

import structlog

from ichd.domain.errors import Refused, Transient
from ichd.domain.reason import Reason
from ichd.intake.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from ichd.intake.information import Information, decode, items_of, uid_of
from ichd.intake.refusals import Refusals
from ichd.intake.service import Answer, Operation, Request, Status
from ichd.store.arrivals import Arrivals
from ichd.store.promises import Promises

_log = structlog.get_logger(__name__)

#: Event types (PS3.4 J.3.3.1.1).
_ALL_COMMITTED, _SOME_FAILED = 1, 2


class PromisedResults:
    """Takes results of storage commitment. Safe for any number of threads."""

    def __init__(self, promises: Promises, arrivals: Arrivals) -> None:
        self._promises = promises
        self._refusals = Refusals(arrivals)

    def accept(self, request: Request) -> Answer:
        """Write one result down; success is answered only once that is committed."""
        if request.operation is not Operation.N_EVENT_REPORT:
            return Answer(status=Status.UNRECOGNISED_OPERATION)
        if request.sop_instance_uid != PUSH_MODEL_INSTANCE:
            return Answer(status=Status.NO_SUCH_SOP_INSTANCE, comment=f"the instance is {PUSH_MODEL_INSTANCE}")
        if request.type_id not in (_ALL_COMMITTED, _SOME_FAILED):
            return Answer(status=Status.NO_SUCH_EVENT_TYPE, comment="the event type is 1 or 2")
        information = decode(request)
        if information is None:
            return Answer(status=Status.INVALID_ARGUMENT_VALUE, comment="the data set can't be read")
        transaction_uid = uid_of(information, "TransactionUID")
        if transaction_uid is None:
            return Answer(status=Status.MISSING_ATTRIBUTE, comment="TransactionUID is missing or is no UID")
        committed = _uids(information, "ReferencedSOPSequence")
        failed = _uids(information, "FailedSOPSequence")
        if None in committed or None in failed or (request.type_id == _SOME_FAILED and not failed):
            # A yes must not be made of a no that can't be read.
            return Answer(status=Status.MISSING_ATTRIBUTE, comment="a sequence is missing or can't be read")
        return self._keep(request, transaction_uid, [uid for uid in committed if uid and uid not in failed])

    def _keep(self, request: Request, transaction_uid: str, committed: list[str]) -> Answer:
        caller = request.sender.calling_ae_title
        try:
            known = self._promises.answer(transaction_uid, caller, committed, request.received_at)
        except Transient as error:
            _log.error("promise_not_kept", reason=str(error.reason), detail=error.detail, calling_ae_title=caller)
            return Answer(status=Status.RESOURCE_LIMITATION, comment=str(error.reason))
        if not known:
            refused = Refused(Reason.PROMISE_UNKNOWN, "storage commitment")
            self._refusals.request(refused, request.sender, sop_class_uid=PUSH_MODEL, now=request.received_at)
            return Answer(status=Status.INVALID_ARGUMENT_VALUE, comment="nobody asked this AE title for it")
        _log.info("promise_answered", transaction=transaction_uid, committed=len(committed), calling_ae_title=caller)
        return Answer(status=Status.SUCCESS)


def _uids(information: Information, sequence: str) -> list[str | None]:
    return [uid_of(item, "ReferencedSOPInstanceUID") for item in items_of(information, sequence)]
