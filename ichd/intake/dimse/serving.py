"""What is done with each message: C-ECHO and C-STORE of images by ourselves, the rest by those who offer it."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from ichd.domain.errors import CodedError, Refused, Transient
from ichd.domain.reason import Reason
from ichd.intake.claim import ACCEPTED_SOP_CLASSES, Claim, Sender
from ichd.intake.dimse.command import Command, CommandField, response
from ichd.intake.dimse.messages import Messages
from ichd.intake.dimse.negotiation import Context
from ichd.intake.dimse.pdu import AbortReason, Violation
from ichd.intake.service import Answer, Operation, Request, Service, Status
from ichd.intake.status import SUCCESS, failure
from ichd.intake.values import is_uid
from ichd.intake.visit import Visit

_log = structlog.get_logger(__name__)

#: The data sets of services hold references, not pixels; ten thousand take at most 1.7 MB.
_LONGEST_SERVICE_DATA_SET = 2 << 20
#: More than the images of one bad series that lies before a good one.
_MOST_REFUSED_IN_A_ROW = 1000
_OPERATIONS = frozenset(Operation)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Who takes what beside images, by SOP class UID."""

    services: Mapping[str, Service] = field(default_factory=dict)
    #: C-STORE of objects that are no images.
    objects: Mapping[str, Service] = field(default_factory=dict)
    #: What a data set holds takes more memory than its bytes.
    at_once: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(2))

    def taker(self, sop_class_uid: str, command_field: int) -> Service | None:
        """Who takes such a request in a context of this SOP class; None where nobody does."""
        if command_field == Operation.C_STORE:
            return self.objects.get(sop_class_uid)
        return self.services.get(sop_class_uid) if command_field in _OPERATIONS else None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What becomes of a message."""

    #: Empty where nothing is said.
    command_set: bytes
    #: Of what is said.
    status: int = SUCCESS
    #: Nothing more is taken in this association.
    is_last: bool = False


class Serving:
    """Answers the messages of one association."""

    def __init__(
        self,
        messages: Messages,
        contexts: Mapping[int, Context],
        visit: Visit,
        sender: Sender,
        offer: Offer,
        clock: Callable[[], datetime],
    ) -> None:
        self._messages = messages
        self._contexts = contexts
        self._visit = visit
        self._sender = sender
        self._offer = offer
        self._clock = clock
        self._refused_in_a_row = 0

    def answer(self, context_id: int, command: Command) -> Reply:
        """Take the data set of a message, if it has one, and answer.

        Raises:
            PeerGone: the data set breaks off; nothing of it is kept.
            Violation: the peer does not keep to the protocol.
        """
        context = self._contexts[context_id]
        if command.field == CommandField.C_STORE and context.abstract_syntax in ACCEPTED_SOP_CLASSES:
            return self._store(context_id, context, command)
        service = self._offer.taker(context.abstract_syntax, command.field)
        if service is not None:
            return self._ask(service, context_id, context, command)
        if command.has_data_set:
            for fragment in self._fragments(context_id):
                self._count(fragment)
        if not command.is_request:
            # A C-CANCEL comes late by nature; a response answers nothing that we asked.
            return Reply(command_set=b"")
        status = SUCCESS if command.field == CommandField.C_ECHO else Status.UNRECOGNISED_OPERATION
        return Reply(command_set=response(command, status), status=status)

    def _store(self, context_id: int, context: Context, command: Command) -> Reply:
        claim = Claim(
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            transfer_syntax_uid=context.transfer_syntax,
        )
        with self._visit.receive(claim) as reception:
            if command.has_data_set:
                for fragment in self._fragments(context_id):
                    reception.write(fragment)
            try:
                reception.admit(now=self._clock())
            except (Refused, Transient) as error:
                status, comment = failure(error)
                answer = response(command, status, comment)
                return Reply(command_set=answer, status=status, is_last=self._is_enough(error))
        self._refused_in_a_row = 0
        return Reply(command_set=response(command, SUCCESS))

    def _is_enough(self, error: Refused | Transient) -> bool:
        """Whether the association ends with this image that was turned away."""
        self._refused_in_a_row += 1
        if self._refused_in_a_row >= _MOST_REFUSED_IN_A_ROW:
            _log.warning(
                "association_given_up",
                refused_in_a_row=self._refused_in_a_row,
                reason=str(error.reason),
                calling_ae_title=self._sender.calling_ae_title,
                address=self._sender.address,
            )
            return True
        return error.reason is Reason.ASSOCIATION_TOO_LARGE

    def _ask(self, service: Service, context_id: int, context: Context, command: Command) -> Reply:
        dataset = bytearray()
        size = 0
        if command.has_data_set:
            for fragment in self._fragments(context_id):
                self._count(fragment)
                size += len(fragment)
                if size <= _LONGEST_SERVICE_DATA_SET:
                    dataset += fragment
        if not _is_uid_or_none(command.sop_instance_uid) or not _is_uid_or_none(command.sop_class_uid):
            answer = Answer(status=Status.INVALID_ARGUMENT_VALUE, comment=str(Reason.BAD_UID))
        elif size > _LONGEST_SERVICE_DATA_SET and command.field != CommandField.C_STORE:
            answer = Answer(status=Status.RESOURCE_LIMITATION, comment=f"at most {_LONGEST_SERVICE_DATA_SET} bytes")
        else:
            # An object that is too large comes without its end: who takes it refuses it by its size, in his own words.
            answer = self._answer_of(service, context, command, bytes(dataset))
        return Reply(command_set=response(command, answer.status, answer.comment), status=answer.status)

    def _fragments(self, context_id: int) -> Iterator[memoryview]:
        """A data set, as long as the association may go on: one without end is never answered."""
        for fragment in self._messages.data_set(context_id):
            if self._visit.has_had_its_fill:
                raise Violation(AbortReason.NOT_SPECIFIED, "a data set that does not end")
            yield fragment

    def _count(self, fragment: memoryview) -> None:
        """On the account of the visit; the next image is told where it is overdrawn."""
        with suppress(Transient):
            self._visit.count(len(fragment))

    def _answer_of(self, service: Service, context: Context, command: Command, dataset: bytes) -> Answer:
        request = Request(
            operation=Operation(command.field),
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            type_id=command.type_id,
            dataset=dataset,
            transfer_syntax_uid=context.transfer_syntax,
            sender=self._sender,
            received_at=self._clock(),
        )
        try:
            with self._offer.at_once:
                return service(request)
        except CodedError as error:
            _log.warning("service_failed", operation=request.operation.name.lower(), reason=str(error.reason))
            return Answer(status=Status.PROCESSING_FAILURE, comment=str(error.reason))


def _is_uid_or_none(uid: str) -> bool:
    """Some requests leave the instance to us (N-CREATE)."""
    return not uid or is_uid(uid)
