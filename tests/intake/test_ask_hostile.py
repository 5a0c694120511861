"""Peers that answer our questions without end, too fast, too slowly, or not to the end: they cost little."""

import io
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.dimse_messages import C_FIND_RSP
from pynetdicom.dimse_primitives import C_FIND

from ichd.domain.errors import CodedError, Permanent, Transient
from ichd.domain.reason import Reason
from ichd.intake.ask.archive import check_source
from ichd.intake.ask.association import associated, service
from ichd.intake.ask.dimse_find import STUDY_ROOT_FIND, VERIFICATION, DimseArchive
from ichd.intake.ask.rows import Level
from ichd.intake.ask.sources import DimseSource
from tests.intake.archiving import running_archive
from tests.intake.pdus import p_data

_MIB = 1 << 20
#: More than any buffer of the kernel takes.
_MUCH = 200 * _MIB
_FOREVER = 0xFFFFFFFF

Attack = Callable[[socket.socket, int, int], None]


class Flood:
    """Sends the same bytes until much was sent, or nobody takes more."""

    def __init__(self, first: bytes, more: Callable[[int], bytes]) -> None:
        self._first = first
        self._more = more
        self.sent = 0

    def __call__(self, connection: socket.socket, context_id: int, _message_id: int) -> None:
        again = self._more(context_id)
        try:
            connection.sendall(self._first)
            while self.sent < _MUCH:
                connection.sendall(again)
                self.sent += len(again)
        except OSError:
            return


@contextmanager
def answering(attack: Attack, *, timeout_s: float = 5.0) -> Iterator[DimseSource]:
    """A peer that associates as it should, and answers C-FIND by an attack."""

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        transport = event.assoc.dul.socket
        assert transport is not None
        assert transport.socket is not None
        attack(transport.socket, event.context.context_id, event.message_id)
        yield 0x0000, None

    ae = AE(ae_title="HOSTILE")
    ae.add_supported_context(STUDY_ROOT_FIND)
    handlers: list[Any] = [(evt.EVT_C_FIND, find)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    port = server.server_address[1]
    try:
        yield DimseSource(name="hostile", host="127.0.0.1", port=port, ae_title="HOSTILE", timeout_s=timeout_s)
    finally:
        server.shutdown()


def trouble_of(source: DimseSource) -> CodedError:
    with pytest.raises(CodedError) as raised:
        DimseArchive(source).find(Level.STUDY, {"StudyInstanceUID": "1.2.3"})
    return raised.value


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (struct.pack(">BBL", 4, 0, _FOREVER), lambda _: bytes(_MIB)),
        (b"", lambda context_id: p_data((context_id, 0, bytes(1 << 17)))),
        (b"", lambda context_id: p_data((context_id, 1, bytes(1 << 17)))),
    ],
    ids=["a PDU", "a data set", "a command set"],
)
def test_what_has_no_end_is_cut_off(first: bytes, more: Callable[[int], bytes]) -> None:
    flood = Flood(first, more)
    with answering(flood) as source:
        error = trouble_of(source)
    assert isinstance(error, Permanent)
    assert error.reason is Reason.SOURCE_CONFUSED
    assert flood.sent < 32 * _MIB, "what is on the way, and not much of it"


def test_an_endless_answer_to_our_request_is_cut_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        flood = Flood(struct.pack(">BBL", 2, 0, _FOREVER), lambda _: bytes(_MIB))

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                flood(connection, 1, 1)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        with pytest.raises(Permanent) as raised:
            check_source(DimseSource(name="hostile", host="127.0.0.1", port=port, ae_title="HOSTILE", timeout_s=5.0))
        thread.join(10)
    assert raised.value.reason is Reason.SOURCE_CONFUSED
    assert flood.sent < 32 * _MIB


def test_a_byte_now_and_then_is_not_waited_for() -> None:
    finished = threading.Event()

    def trickle(connection: socket.socket, _context_id: int, _message_id: int) -> None:
        connection.sendall(struct.pack(">BBL", 4, 0, 100_000))
        try:
            while not finished.wait(0.1):
                connection.sendall(b"\0")
        except OSError:
            return

    with answering(trickle, timeout_s=1.0) as source:
        began = time.monotonic()
        error = trouble_of(source)
        took = time.monotonic() - began
        finished.set()
    assert error.reason is Reason.SOURCE_LOST
    assert took < 20


def test_who_answers_faster_than_we_read_waits() -> None:
    stalled = threading.Event()

    def hurry(connection: socket.socket, context_id: int, message_id: int) -> None:
        answer = _match(context_id, message_id)
        connection.settimeout(1.0)
        try:
            for _ in range(_MUCH // len(answer)):
                connection.sendall(answer)
        except TimeoutError:
            stalled.set()

    question = Dataset()
    question.QueryRetrieveLevel, question.StudyInstanceUID = "STUDY", ""
    with (
        answering(hurry, timeout_s=30.0) as source,
        associated(source, [service(STUDY_ROOT_FIND)]) as association,
    ):
        answers = association.send_c_find(question, STUDY_ROOT_FIND)
        assert stalled.wait(30)
        assert association.dimse.msg_queue.qsize() < 10
        assert [answer.Status for answer, _ in (next(answers) for _ in range(20))] == [0xFF00] * 20
        association.abort()


def _match(context_id: int, message_id: int) -> bytes:
    """One answer to C-FIND, with an identifier that is long and legal."""
    primitive = C_FIND()
    primitive.MessageIDBeingRespondedTo, primitive.AffectedSOPClassUID = message_id, UID(STUDY_ROOT_FIND)
    primitive.Status = 0xFF00
    comment = bytes(100_000)
    # Implicit VR: (0020,4000), an LT.
    primitive.Identifier = io.BytesIO(struct.pack("<HHL", 0x0020, 0x4000, len(comment)) + comment)
    message = C_FIND_RSP()
    message.primitive_to_message(primitive)
    return b"".join(
        p_data((context, value[0], bytes(value[1:])))
        for part in message.encode_msg(context_id, 1 << 17)
        for context, value in part.presentation_data_value_list
    )


def test_an_association_that_ended_meanwhile_is_a_lost_source() -> None:
    with running_archive([]) as archive:
        context = associated(archive.source(), [service(VERIFICATION)])
        association = context.__enter__()
        association.abort()
        with pytest.raises(RuntimeError) as unsent:
            association.send_c_echo()
        with pytest.raises(Transient) as raised:
            context.__exit__(RuntimeError, unsent.value, None)
    assert raised.value.reason is Reason.SOURCE_LOST


def test_an_error_of_another_making_stays_what_it_is() -> None:
    with (
        running_archive([]) as archive,
        pytest.raises(RuntimeError, match="ours"),
        associated(archive.source(), [service(VERIFICATION)]),
    ):
        raise RuntimeError("ours")
