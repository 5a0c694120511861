"""A peer that does not keep to the protocol costs a bounded time and memory, and its words go nowhere."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.presentation import PresentationContext

from ichd.domain.errors import CodedError, Transient
from ichd.domain.reason import Reason
from ichd.publish.cstore import CStore
from ichd.publish.peer import DimsePeer
from tests.publish.dimse_sending import raw_listener
from tests.publish.parcels import SR, Outbox
from tests.publish.test_association_codecs import a_response
from tests.report.findings import CREATED_AT

HEADER = struct.Struct(">BxL")


def pdu(kind: int, body: bytes) -> bytes:
    return HEADER.pack(kind, len(body)) + body


def data(control: int, fragment: bytes, context_id: int = 1) -> bytes:
    return pdu(0x04, struct.pack(">LBB", len(fragment) + 2, context_id, control) + fragment)


def read_pdu(connection: socket.socket) -> bytes:
    header = connection.recv(6, socket.MSG_WAITALL)
    return header + connection.recv(HEADER.unpack(header)[1], socket.MSG_WAITALL)


def acceptance(request: bytes) -> bytes:
    """An A-ASSOCIATE-AC that takes everything, by pynetdicom."""
    asked = A_ASSOCIATE_RQ()
    asked.decode(request)
    primitive = asked.to_primitive()
    results = []
    for context in asked.presentation_context:
        taken = PresentationContext()
        taken.context_id, taken.result = context.context_id, 0
        taken.transfer_syntax = [context.transfer_syntax[0]]
        results.append(taken)
    primitive.presentation_context_definition_results_list = results
    primitive.result, primitive.result_source = 0, 1
    answer = A_ASSOCIATE_AC()
    answer.from_primitive(primitive)
    return bytes(answer.encode())


@contextmanager
def peer_that(answers: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accepts the association, waits for the first request, and then does as it likes."""

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.settimeout(10)
            connection.sendall(acceptance(read_pdu(connection)))
            read_pdu(connection)
            answers(connection)

    with raw_listener(serve) as port:
        yield port


def outcome(port: int, outbox: Outbox) -> CodedError:
    peer = DimsePeer(name="pacs", host="127.0.0.1", port=port, ae_title="PACS", timeout_s=0.6)
    started = time.monotonic()
    with pytest.raises(Transient) as caught:
        CStore(peer=peer).deliver(outbox.parcel(SR), now=CREATED_AT)
    assert time.monotonic() - started < 4
    assert "DOE" not in caught.value.detail
    return caught.value


def endless_fragments(connection: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection.sendall(data(0x01, b"DOE^JANE" * 1000))


def drip(connection: socket.socket) -> None:
    with suppress(OSError):
        for byte in data(0x03, a_response(0x0000, message_id=1)):
            connection.sendall(bytes((byte,)))
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (lambda c: c.sendall(HEADER.pack(0x04, 0xFFFFFFFF)), Reason.PEER_CONFUSED),
        (lambda c: c.sendall(b"DOE^JANE DOE^JANE"), Reason.PEER_CONFUSED),
        (lambda c: c.sendall(data(0x03, b"DOE^JANE")), Reason.PEER_CONFUSED),
        (lambda c: c.sendall(data(0x03, a_response(0x0000, message_id=99))), Reason.PEER_CONFUSED),
        (lambda c: c.sendall(data(0x03, a_response(0x0000, message_id=1), context_id=77)), Reason.PEER_CONFUSED),
        (lambda c: c.sendall(data(0x02, b"DOE^JANE")), Reason.PEER_CONFUSED),
        (endless_fragments, Reason.PEER_CONFUSED),
        (drip, Reason.PEER_UNREACHABLE),
        (lambda c: c.sendall(data(0x01, b"")), Reason.PEER_UNREACHABLE),
        (lambda c: c.sendall(pdu(0x05, bytes(4))), Reason.ASSOCIATION_LOST),
        (lambda c: c.sendall(pdu(0x07, bytes(4))), Reason.ASSOCIATION_LOST),
        (lambda c: c.shutdown(socket.SHUT_RDWR), Reason.ASSOCIATION_LOST),
    ],
    ids=[
        "4 GB",
        "no PDU",
        "no command set",
        "to another request",
        "in another context",
        "a data set first",
        "without end",
        "drips",
        "half",
        "releases",
        "aborts",
        "hangs up",
    ],
)
def test_what_is_no_answer(outbox: Outbox, answers: Callable[[socket.socket], None], reason: Reason) -> None:
    with peer_that(answers) as port:
        assert outcome(port, outbox).reason is reason


def test_the_same_peer_with_an_answer(outbox: Outbox) -> None:
    """That the others fail for what they do."""

    def answers(connection: socket.socket) -> None:
        read_pdu(connection)
        connection.sendall(data(0x03, a_response(0x0000, message_id=1)))

    with peer_that(answers) as port:
        peer = DimsePeer(name="pacs", host="127.0.0.1", port=port, ae_title="PACS", timeout_s=0.6)
        assert CStore(peer=peer).deliver(outbox.parcel(SR), now=CREATED_AT).status == "0x0000"
