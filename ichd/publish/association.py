"""An association that we ask for, and DIMSE requests over it, in the thread of who asks.

Our own, where pynetdicom has two threads an association that look for work every millisecond: SR, KO and SC to a peer
that stores them in 6 ms took 38 ms. It also bounds what a peer may send and for how long, and says why TLS failed.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.command import CommandField, Tag, command_set, response
from ichd.publish.connection import Connection, connect
from ichd.publish.messages import Assembly, Message
from ichd.publish.pdu import (
    COMMAND,
    HEADER,
    LONGEST_PDU,
    Context,
    PduType,
    Violation,
    abort,
    associate_request,
    fragments,
    read_acceptance,
    rejection_words,
    release_request,
    release_response,
)
from ichd.publish.peer import DimsePeer

#: What we can write, and the better one first: objects lie in it in the outbox.
SYNTAXES = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
#: What was acknowledged stays acknowledged, however the peer takes the release.
_RELEASE_S = 5.0
#: Requests of the peer that wait for us to look at them.
_MOST_REQUESTS = 16


@contextmanager
def associated_with(peer: DimsePeer, proposals: Sequence[tuple[str, str]]) -> Iterator["Association"]:
    """An established association, released at the end, aborted on an error.

    `proposals` are pairs of abstract syntax and transfer syntax, a context each: so a peer that takes both encodings
    of a class lets us choose.

    Raises:
        Transient: no association came about, or it broke; see `ichd.publish.peer`.
    """
    connection = connect(
        str(peer), peer.host, peer.port, tls=peer.tls, connect_s=peer.connect_timeout_s, timeout_s=peer.timeout_s
    )
    association = Association(peer, connection)
    try:
        association.negotiate(proposals)
        yield association
    except BaseException:
        association.abort()
        raise
    else:
        association.release()
    finally:
        connection.close()


class Association:
    """An association, for one thread; made by `associated_with`."""

    def __init__(self, peer: DimsePeer, connection: Connection) -> None:
        self._peer = peer
        self._connection = connection
        self._accepted: dict[int, Context] = {}
        self._max_pdu = 0
        self._last_id = 0
        self._requests: deque[Message] = deque()
        #: The peer has ended it, or never begun.
        self._is_over = False

    @property
    def accepted(self) -> frozenset[str]:
        """Abstract syntaxes that the peer takes in any encoding that was proposed."""
        return frozenset(context.abstract_syntax for context in self._accepted.values())

    def context(self, abstract_syntax: str, transfer_syntaxes: Sequence[str] = SYNTAXES) -> Context | None:
        """The accepted context of a class in the first encoding that the peer takes."""
        for syntax in transfer_syntaxes:
            for context in self._accepted.values():
                if (context.abstract_syntax, context.transfer_syntax) == (abstract_syntax, syntax):
                    return context
        return None

    def negotiate(self, proposals: Sequence[tuple[str, str]]) -> None:
        """Ask for the association.

        Raises:
            Transient: it is rejected, or does not come about.
        """
        contexts = {
            2 * index + 1: Context(context_id=2 * index + 1, abstract_syntax=abstract, transfer_syntax=transfer)
            for index, (abstract, transfer) in enumerate(proposals)
        }
        self._connection.send(
            [
                associate_request(
                    called=self._peer.ae_title, calling=self._peer.calling_ae_title, contexts=tuple(contexts.values())
                )
            ]
        )
        kind, body = self._read_pdu(self._deadline())
        if kind == PduType.ASSOCIATE_RJ:
            self._is_over = True
            raise Transient(Reason.ASSOCIATION_REJECTED, f"{self._peer} rejected it {rejection_words(body)}")
        if kind != PduType.ASSOCIATE_AC:
            raise self._confused(f"PDU type {kind} in answer to an association request")
        try:
            acceptance = read_acceptance(body)
        except Violation as error:
            raise self._confused(str(error)) from error
        self._max_pdu = acceptance.max_pdu
        # One that it was not asked for, or in another encoding, is none that we can write.
        self._accepted = {
            context_id: contexts[context_id]
            for context_id, syntax in acceptance.transfer_syntaxes.items()
            if context_id in contexts and contexts[context_id].transfer_syntax == syntax
        }

    def ask(
        self,
        context: Context,
        field: CommandField,
        elements: Mapping[Tag, int | str],
        data_set: bytes | memoryview | None = None,
    ) -> Message:
        """Send a request; the first response to it.

        Raises:
            Transient: the association broke, or there was no response in time.
        """
        self._last_id = self._last_id % 0xFFFF + 1
        command = command_set(field, {**elements, Tag.MESSAGE_ID: self._last_id}, has_data_set=data_set is not None)
        self._connection.send(fragments(context.context_id, command, control=COMMAND, max_pdu=self._max_pdu))
        if data_set is not None:
            self._connection.send(fragments(context.context_id, data_set, control=0, max_pdu=self._max_pdu))
        return self.next_response()

    def next_response(self) -> Message:
        """The next response to the last request, as C-FIND has several; requests of the peer are kept for later.

        Raises:
            Transient: as `ask`.
        """
        deadline = self._deadline()
        while True:
            message = self._read_message(deadline)
            if not message.command.is_response:
                self._keep(message)
            elif message.command.message_id == self._last_id:
                return message
            else:
                raise self._confused("a response to a request that was not made")

    def next_request(self, *, patience_s: float) -> Message | None:
        """The next request of the peer; None where none comes in time, or where the peer ends the association.

        Raises:
            Permanent, Transient: it sends something else.
        """
        if self._requests:
            return self._requests.popleft()
        try:
            message = self._read_message(time.monotonic() + patience_s)
        except Transient as error:
            if error.reason in {Reason.PEER_UNREACHABLE, Reason.ASSOCIATION_LOST}:
                return None
            raise
        if message.command.is_response:
            raise self._confused("a response to a request that was not made")
        return message

    def answer(self, request: Message, status: int) -> None:
        """Answer a request of the peer.

        Raises:
            Transient: the association broke.
        """
        content = response(request.command, status)
        self._connection.send(fragments(request.context.context_id, content, control=COMMAND, max_pdu=self._max_pdu))

    def release(self) -> None:
        """Say goodbye and wait a moment for the same."""
        deadline = time.monotonic() + min(_RELEASE_S, self._peer.timeout_s)
        with suppress(Transient):
            self._connection.send([release_request()])
            while self._read_pdu(deadline)[0] != PduType.RELEASE_RP:
                pass

    def abort(self) -> None:
        """End it at once, unless the peer has."""
        if not self._is_over:
            self._connection.say_last(abort())

    def _read_message(self, deadline: float) -> Message:
        assembly = Assembly(self._accepted)
        while True:
            kind, body = self._read_pdu(deadline)
            if kind == PduType.RELEASE_RQ:
                self._is_over = True
                self._connection.say_last(release_response())
                raise Transient(Reason.ASSOCIATION_LOST, f"{self._peer} released the association")
            if kind != PduType.P_DATA_TF:
                raise self._confused(f"PDU type {kind} where a message was due")
            try:
                message = assembly.add(body)
            except Violation as error:
                raise self._confused(str(error)) from error
            if message is not None:
                return message

    def _read_pdu(self, deadline: float) -> tuple[int, bytes]:
        kind, length = HEADER.unpack(self._connection.receive(HEADER.size, deadline=deadline))
        if length > LONGEST_PDU:
            raise self._confused(f"a PDU of {length} bytes")
        body = self._connection.receive(length, deadline=deadline)
        if kind == PduType.ABORT:
            self._is_over = True
            raise Transient(Reason.ASSOCIATION_LOST, f"{self._peer} aborted the association")
        return kind, body

    def _keep(self, request: Message) -> None:
        if len(self._requests) >= _MOST_REQUESTS:
            raise self._confused("requests without end")
        self._requests.append(request)

    def _deadline(self) -> float:
        return time.monotonic() + self._peer.timeout_s

    def _confused(self, said: str) -> Transient:
        """Something else may listen there until someone mends it."""
        return Transient(Reason.PEER_CONFUSED, f"{self._peer} sent {said}")


def in_all_syntaxes(sop_classes: Sequence[str]) -> list[tuple[str, str]]:
    """Proposals of the classes in every encoding that we can write."""
    return [(sop_class, syntax) for sop_class in sop_classes for syntax in SYNTAXES]


def required(peer: DimsePeer, association: Association, sop_class: str, what: str) -> Context:
    """The context of a service.

    Raises:
        Permanent: PEER_REFUSED, the peer does not offer it.
    """
    context = association.context(sop_class)
    if context is None:
        raise Permanent(Reason.PEER_REFUSED, f"{peer} does not offer {what}")
    return context
