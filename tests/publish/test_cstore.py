"""Delivery by C-STORE against real peers: every rung of the ladder, every name of trouble, and its class."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE, evt

from ichd.domain.delivery import LADDER, SOP_CLASSES, ObjectKind, Parcel, Proof
from ichd.domain.errors import CodedError, Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.cstore import CStore
from ichd.publish.peer import DimsePeer, Verdict, judge_status
from tests.peers.dcmtk import restricted_to, running_storescp
from tests.peers.orthanc import Orthanc
from tests.peers.ports import free_port
from tests.peers.storescp import Receiver, running_receiver
from tests.publish.parcels import KO, SC, SR, Outbox, payload
from tests.report.findings import CREATED_AT

SOP = {kind: SOP_CLASSES[kind] for kind in SOP_CLASSES}


def sender(port: int, ae_title: str = "RECEIVER", **timeouts: float) -> CStore:
    peer = DimsePeer(name="pacs", host="127.0.0.1", port=port, ae_title=ae_title, **timeouts)  # type: ignore[arg-type]
    return CStore(peer=peer)


def outcome(way: CStore, parcel: Parcel) -> CodedError:
    with pytest.raises(CodedError) as caught:
        way.deliver(parcel, now=CREATED_AT)
    return caught.value


@contextmanager
def raw_listener(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A socket that accepts one connection and hands it to `serve`."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(10)
        done = threading.Event()

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                serve(connection)
                done.wait(10)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            done.set()
            thread.join()


def test_a_receipt_names_what_was_acknowledged(receiver: Receiver, outbox: Outbox) -> None:
    receipt = sender(receiver.port).deliver(outbox.parcel(KO, SR, SC), now=CREATED_AT)
    sent = [outbox.object(kind) for kind in (SR, KO, SC)]
    assert receipt.destination == "pacs"
    assert receipt.sent_at == CREATED_AT
    assert receipt.sop_instance_uids == tuple(each.sop_instance_uid for each in sent), "the report's first"
    assert receipt.sop_class_uid == SOP[SR]
    assert (receipt.status, receipt.left_out, receipt.proof) == ("0x0000", (), Proof.SENT)
    assert (receipt.ae_title, receipt.address) == ("RECEIVER", "127.0.0.1")


def test_objects_travel_byte_for_byte_over_one_association(receiver: Receiver, outbox: Outbox) -> None:
    outbox.object_bytes = 3_000_001
    sender(receiver.port).deliver(outbox.parcel(), now=CREATED_AT)
    assert receiver.associations == 1
    assert len(receiver.received) == 3
    for each in outbox.made.values():
        arrived = receiver.folder / f"{each.sop_instance_uid}.dcm"
        assert payload(arrived) == payload(each.path)
        assert dcmread(arrived).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_sending_again_is_the_same_object(receiver: Receiver, outbox: Outbox) -> None:
    for _ in range(2):
        sender(receiver.port).deliver(outbox.parcel(), now=CREATED_AT)
    assert len(receiver.received) == 6
    assert len(receiver.files()) == 3


@pytest.mark.parametrize("rung", LADDER[:-1])
def test_the_report_goes_in_the_richest_form_that_the_peer_takes(
    tmp_path: Path, outbox: Outbox, rung: ObjectKind
) -> None:
    lower = LADDER[LADDER.index(rung) : -1]
    with running_receiver(tmp_path / "in", sop_classes=[SOP[kind] for kind in lower]) as receiver:
        receipt = sender(receiver.port).deliver(outbox.parcel(), now=CREATED_AT)
    assert receipt.sop_class_uid == SOP[rung]
    assert receipt.sop_instance_uids == (outbox.object(rung).sop_instance_uid,)
    assert receipt.left_out == (KO, SC)
    assert set(outbox.asked) == {(rung,)}, "nothing is made that nobody takes"


def test_a_picture_stands_for_the_report_where_the_peer_takes_no_other(tmp_path: Path, outbox: Outbox) -> None:
    with running_receiver(tmp_path / "in", sop_classes=[SOP[SC], SOP[KO]]) as receiver:
        receipt = sender(receiver.port).deliver(outbox.parcel(), now=CREATED_AT)
    assert receipt.sop_class_uid == SOP[SC]
    assert receipt.left_out == ()
    assert receiver.received == [outbox.object(SC).sop_instance_uid, outbox.object(KO).sop_instance_uid]


@pytest.mark.parametrize("wanted", [(SR, KO, SC), (KO,)])
def test_a_peer_that_takes_nothing_of_it(tmp_path: Path, outbox: Outbox, wanted: tuple[ObjectKind, ...]) -> None:
    with running_receiver(tmp_path / "in", sop_classes=[CTImageStorage]) as receiver:
        raised = outcome(sender(receiver.port), outbox.parcel(*wanted))
    assert type(raised) is Permanent
    assert raised.reason is Reason.NO_ACCEPTED_CONTEXT
    assert outbox.asked == []


def test_a_class_that_is_accepted_and_then_turned_down_is_one_rung_less(tmp_path: Path, outbox: Outbox) -> None:
    asked: list[str] = []

    def answer(event: evt.Event) -> int:
        asked.append(str(event.dataset.SOPClassUID))
        return 0x0122 if asked[-1] in (SOP[SR], SOP[KO]) else 0x0000

    with running_receiver(tmp_path / "in", answer=answer) as receiver:
        receipt = sender(receiver.port).deliver(outbox.parcel(), now=CREATED_AT)
    assert receipt.sop_class_uid == SOP[ObjectKind.SR_COMPREHENSIVE]
    assert receipt.left_out == (KO,)
    assert sorted(asked) == sorted([SOP[SR], SOP[KO], SOP[SC], SOP[ObjectKind.SR_COMPREHENSIVE]]), "none twice"


def test_a_kind_of_which_there_is_nothing_is_no_trouble(receiver: Receiver, outbox: Outbox) -> None:
    outbox.nothing_of = frozenset({ObjectKind.HEAT})
    receipt = sender(receiver.port).deliver(outbox.parcel(ObjectKind.HEAT), now=CREATED_AT)
    assert (receipt.sop_instance_uids, receipt.sop_class_uid) == ((), "")


def test_a_peer_that_speaks_implicit_vr_only_gets_it_converted(tmp_path: Path, outbox: Outbox) -> None:
    taken: list[tuple[str, Dataset]] = []

    def keep(event: evt.Event) -> int:
        taken.append((event.context.transfer_syntax, event.dataset))
        return 0x0000

    ae = AE(ae_title="RECEIVER")
    ae.add_supported_context(SOP[SR], ImplicitVRLittleEndian)
    port = free_port()
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    try:
        sender(port).deliver(outbox.parcel(SR), now=CREATED_AT)
    finally:
        ae.shutdown()
    ((syntax, dataset),) = taken
    sent = dcmread(outbox.object(SR).path)
    assert syntax == ImplicitVRLittleEndian
    assert dataset.PatientName == sent.PatientName
    # What no dictionary knows has no VR in implicit VR.
    assert dataset[0x00431001].value == sent[0x00431001].value


def test_a_peer_with_small_fragments(tmp_path: Path, outbox: Outbox) -> None:
    outbox.object_bytes = 100_000
    ae = AE(ae_title="RECEIVER")
    ae.maximum_pdu_size = 100
    ae.add_supported_context(SOP[SR], ExplicitVRLittleEndian)
    taken: list[bytes] = []

    def keep(event: evt.Event) -> int:
        taken.append(event.encoded_dataset(include_meta=False))
        return 0x0000

    port = free_port()
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    try:
        sender(port).deliver(outbox.parcel(SR), now=CREATED_AT)
    finally:
        ae.shutdown()
    assert taken == [payload(outbox.object(SR).path)]


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


def test_check_is_an_echo(receiver: Receiver) -> None:
    assert sender(receiver.port).check() == "answers C-ECHO"
    with pytest.raises(Transient) as caught:
        sender(free_port()).check()
    assert caught.value.reason is Reason.PEER_UNREACHABLE


def test_a_peer_that_offers_no_echo() -> None:
    ae = AE(ae_title="RECEIVER")
    ae.add_supported_context(CTImageStorage)
    port = free_port()
    ae.start_server(("127.0.0.1", port), block=False)
    try:
        with pytest.raises(Permanent) as caught:
            sender(port).check()
    finally:
        ae.shutdown()
    assert caught.value.reason is Reason.PEER_REFUSED


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("::1", True),
        ("192.0.2.7", False),
        ("", False),
    ],
)
def test_loopback_is_decided_by_address(host: str, expected: bool) -> None:
    assert CStore(peer=DimsePeer(name="x", host=host, port=104, ae_title="X")).is_loopback is expected


def test_dcmtk_takes_all_of_it(tmp_path: Path, outbox: Outbox) -> None:
    with running_storescp(tmp_path / "in") as port:
        receipt = sender(port).deliver(outbox.parcel(), now=CREATED_AT)
    assert receipt.sop_class_uid == SOP[SR]
    files = list((tmp_path / "in").iterdir())
    assert sorted(payload(file) for file in files) == sorted(payload(each.path) for each in outbox.made.values())


@pytest.mark.parametrize(
    ("takes", "rung", "left_out"),
    [
        ([ObjectKind.SR_COMPREHENSIVE], ObjectKind.SR_COMPREHENSIVE, (KO, SC)),
        ([SC], SC, (KO,)),
    ],
)
def test_dcmtk_restricted(
    tmp_path: Path, outbox: Outbox, takes: list[ObjectKind], rung: ObjectKind, left_out: tuple[ObjectKind, ...]
) -> None:
    options = restricted_to([SOP[kind] for kind in takes], tmp_path)
    with running_storescp(tmp_path / "in", *options) as port:
        receipt = sender(port).deliver(outbox.parcel(), now=CREATED_AT)
    (file,) = (tmp_path / "in").iterdir()
    assert payload(file) == payload(outbox.object(rung).path)
    assert receipt.sop_class_uid == SOP[rung]
    assert receipt.left_out == left_out


@pytest.mark.parametrize("option", ["--implicit", "+xe"])
def test_dcmtk_prefers_an_encoding(tmp_path: Path, outbox: Outbox, option: str) -> None:
    with running_storescp(tmp_path / "in", option) as port:
        sender(port).deliver(outbox.parcel(SC), now=CREATED_AT)
    (file,) = (tmp_path / "in").iterdir()
    assert dcmread(file).PatientName == dcmread(outbox.object(SC).path).PatientName


def test_dcmtk_refuses_the_association(tmp_path: Path, outbox: Outbox) -> None:
    with running_storescp(tmp_path / "in", "--refuse") as port:
        raised = outcome(sender(port), outbox.parcel())
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.ASSOCIATION_REJECTED


def test_dcmtk_aborts_during_the_store(tmp_path: Path, outbox: Outbox) -> None:
    with running_storescp(tmp_path / "in", "--abort-during") as port:
        raised = outcome(sender(port), outbox.parcel())
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.ASSOCIATION_LOST


def test_orthanc_files_it_with_the_study_once(orthanc: Orthanc, outbox: Outbox) -> None:
    way = sender(orthanc.dicom_port, ae_title=orthanc.ae_title)
    assert way.check() == "answers C-ECHO"
    for _ in range(2):
        receipt = way.deliver(outbox.parcel(), now=CREATED_AT)
    for uid in receipt.sop_instance_uids:
        (stored,) = orthanc.instances(SOPInstanceUID=uid)
        assert str(stored.PatientName) == "Müller^Jörg"
        assert stored.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
