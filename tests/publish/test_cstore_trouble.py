"""Delivery by C-STORE: every name of trouble, and its class."""

import threading
import time
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt

from ichd.domain.errors import CodedError, Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.cstore import CStore
from ichd.publish.peer import DimsePeer, Verdict, judge_status
from tests.peers.ports import free_port
from tests.peers.storescp import running_receiver
from tests.publish.dimse_sending import SOP, outcome, raw_listener, sender
from tests.publish.parcels import SR, Outbox
from tests.report.findings import CREATED_AT

STATUSES: list[tuple[int, type[CodedError] | None, Reason | None]] = [
    (0x0000, None, None),
    (0x0001, None, None),
    (0x0107, None, None),
    (0xB000, None, None),
    (0xB006, None, None),
    (0xB007, None, None),
    (0xA700, Transient, Reason.PEER_BUSY),
    (0xA702, Transient, Reason.PEER_BUSY),
    (0x0213, Transient, Reason.PEER_BUSY),
    (0xA900, Permanent, Reason.PEER_REFUSED),
    (0xC000, Permanent, Reason.PEER_REFUSED),
    (0xC123, Permanent, Reason.PEER_REFUSED),
    (0x0110, Permanent, Reason.PEER_REFUSED),
    (0x0117, Permanent, Reason.PEER_REFUSED),
    (0x0122, Permanent, Reason.NO_ACCEPTED_CONTEXT),
    (0x0124, Permanent, Reason.PEER_REFUSED),
]


@pytest.mark.parametrize(
    ("status", "error", "reason"), STATUSES, ids=lambda v: f"{v:#06x}" if isinstance(v, int) else ""
)
def test_every_status_has_its_class(
    tmp_path: Path, outbox: Outbox, status: int, error: type[CodedError] | None, reason: Reason | None
) -> None:
    def answer(event: evt.Event) -> Dataset:
        reply = Dataset()
        reply.Status = status
        reply.ErrorComment = "Patient DOE^JANE is unknown"
        return reply

    with running_receiver(tmp_path, answer=answer, sop_classes=[SOP[SR]]) as receiver:
        if error is None:
            assert sender(receiver.port).deliver(outbox.parcel(SR), now=CREATED_AT).status == f"0x{status:04X}"
            return
        raised = outcome(sender(receiver.port), outbox.parcel(SR))
    assert type(raised) is error
    assert raised.reason is reason
    assert "DOE" not in raised.detail, "a peer's comment may name the patient, and a detail is stored and logged"
    if reason is not Reason.NO_ACCEPTED_CONTEXT:
        assert f"0x{status:04X}" in raised.detail
        assert "RECEIVER@127.0.0.1" in raised.detail


def test_every_status_has_a_verdict() -> None:
    verdicts = {status: judge_status(status) for status in range(0x10000)}
    assert {s for s, v in verdicts.items() if v is Verdict.STORED} == {0, 1, 0x107, 0x116, *range(0xB000, 0xC000)}
    assert {s for s, v in verdicts.items() if v is Verdict.BUSY} == {0x0213, *range(0xA700, 0xA800)}


def test_nobody_listens(outbox: Outbox) -> None:
    raised = outcome(sender(free_port()), outbox.parcel(SR))
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.PEER_UNREACHABLE


def test_a_name_that_nobody_knows(outbox: Outbox) -> None:
    way = CStore(peer=DimsePeer(name="pacs", host="pacs.invalid", port=104, ae_title="PACS"))
    assert outcome(way, outbox.parcel(SR)).reason is Reason.PEER_UNREACHABLE
    assert not way.is_loopback


def test_a_silent_socket_is_given_up(outbox: Outbox) -> None:
    with raw_listener(lambda connection: None) as port:
        started = time.monotonic()
        raised = outcome(sender(port, timeout_s=0.5), outbox.parcel(SR))
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.PEER_UNREACHABLE
    assert time.monotonic() - started < 5


def test_a_connection_closed_at_once(outbox: Outbox) -> None:
    with raw_listener(lambda connection: connection.close()) as port:
        raised = outcome(sender(port, timeout_s=5), outbox.parcel(SR))
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.ASSOCIATION_LOST


def test_something_else_listens_there(outbox: Outbox) -> None:
    with raw_listener(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        raised = outcome(sender(port, timeout_s=2), outbox.parcel(SR))
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.PEER_CONFUSED
    assert "HTTP" not in raised.detail


def test_a_peer_that_accepts_and_then_never_answers(tmp_path: Path, outbox: Outbox) -> None:
    release = threading.Event()

    def answer(event: evt.Event) -> int:
        release.wait(10)
        return 0x0000

    with running_receiver(tmp_path, answer=answer) as receiver:
        raised = outcome(sender(receiver.port, timeout_s=0.5), outbox.parcel(SR))
        release.set()
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.PEER_UNREACHABLE


def test_a_peer_that_stops_reading(tmp_path: Path, outbox: Outbox) -> None:
    held = threading.Event()

    def hold_data(event: evt.Event) -> None:
        if event.pdu.pdu_type == 0x04:
            held.wait(20)

    outbox.object_bytes = 64 * 1024 * 1024
    outbox.object(SR)
    ae = AE(ae_title="RECEIVER")
    ae.add_supported_context(SOP[SR])
    port = free_port()
    # The handler of the first PDU with data keeps the thread that reads the socket.
    ae.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[(evt.EVT_PDU_RECV, hold_data)],
    )
    try:
        started = time.monotonic()
        raised = outcome(sender(port, timeout_s=1), outbox.parcel(SR))
        took = time.monotonic() - started
    finally:
        held.set()
        ae.shutdown()
    assert isinstance(raised, Transient)
    assert took < 10


def test_an_abort_in_the_middle(tmp_path: Path, outbox: Outbox) -> None:
    def answer(event: evt.Event) -> int:
        event.assoc.abort()
        return 0x0000

    with running_receiver(tmp_path, answer=answer) as receiver:
        raised = outcome(sender(receiver.port, timeout_s=10), outbox.parcel(SR))
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.ASSOCIATION_LOST


def test_a_typo_in_the_called_ae_title(tmp_path: Path, outbox: Outbox) -> None:
    with running_receiver(tmp_path, require_called_ae_title=True) as receiver:
        raised = outcome(sender(receiver.port, ae_title="RECIEVER"), outbox.parcel(SR))
        assert isinstance(raised, Transient)
        assert raised.reason is Reason.ASSOCIATION_REJECTED
        assert "it has not the called AE title" in raised.detail
        assert "for good" in raised.detail
        sender(receiver.port).deliver(outbox.parcel(SR), now=CREATED_AT)


def test_a_caller_that_the_peer_does_not_know(tmp_path: Path, outbox: Outbox) -> None:
    with running_receiver(tmp_path, require_calling_ae_titles=["SOMEONE"]) as receiver:
        raised = outcome(sender(receiver.port), outbox.parcel(SR))
    assert isinstance(raised, Transient)
    assert "it does not know our calling AE title" in raised.detail
