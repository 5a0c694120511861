"""Delivery by C-STORE against real peers: every name of trouble, and its class."""

import gc
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import Comprehensive3DSRStorage, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from ichd.domain.errors import CodedError, Permanent, Transient
from ichd.domain.reason import Reason
from ichd.publish.dimse import DimsePeer, Verdict, deliver, echo, judge_status
from ichd.report.readable import read_report
from ichd.report.sr import build_report
from tests.peers.orthanc import Orthanc
from tests.peers.ports import free_port
from tests.peers.storescp import Receiver, running_receiver
from tests.report.findings import CONTEXT, CREATED_AT, bleeding, header


@pytest.fixture(scope="module")
def report() -> Dataset:
    return build_report(bleeding(), [header()], CONTEXT)


def peer_at(port: int, ae_title: str = "RECEIVER", **timeouts: float) -> DimsePeer:
    return DimsePeer(name="pacs", host="127.0.0.1", port=port, ae_title=ae_title, **timeouts)  # type: ignore[arg-type]


def encoded(dataset: Dataset) -> bytes:
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def outcome(peer: DimsePeer, report: Dataset) -> CodedError:
    with pytest.raises(CodedError) as caught:
        deliver(peer, [report], now=CREATED_AT)
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


def test_a_receipt_names_what_was_acknowledged(receiver: Receiver, report: Dataset) -> None:
    receipt = deliver(peer_at(receiver.port), [report], now=CREATED_AT)
    assert receipt.destination == "pacs"
    assert receipt.sent_at == CREATED_AT
    assert receipt.sop_instance_uids == (report.SOPInstanceUID,)
    assert receipt.sop_class_uid == Comprehensive3DSRStorage
    assert receipt.status == "0x0000"
    (file,) = receiver.files()
    assert read_report(dcmread(file)) == read_report(report)


def test_all_objects_travel_over_one_association(receiver: Receiver, report: Dataset) -> None:
    second = build_report(bleeding(20), [header()], CONTEXT)
    second.SOPInstanceUID = "2.25.987"
    receipt = deliver(peer_at(receiver.port), [report, second], now=CREATED_AT)
    assert receipt.sop_instance_uids == (report.SOPInstanceUID, "2.25.987")
    assert receiver.received == list(receipt.sop_instance_uids)
    assert receiver.associations == 1


def test_sending_again_is_the_same_object(receiver: Receiver, report: Dataset) -> None:
    for _ in range(2):
        deliver(peer_at(receiver.port), [report], now=CREATED_AT)
    assert len(receiver.received) == 2
    assert len(receiver.files()) == 1


def test_a_peer_that_speaks_implicit_vr_only(tmp_path: Path, report: Dataset) -> None:
    taken = []

    def keep(event: evt.Event) -> int:
        taken.append((event.context.transfer_syntax, event.dataset))
        return 0x0000

    ae = AE(ae_title="RECEIVER")
    ae.add_supported_context(Comprehensive3DSRStorage, ImplicitVRLittleEndian)
    port = free_port()
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    try:
        deliver(peer_at(port), [report], now=CREATED_AT)
    finally:
        ae.shutdown()
    ((syntax, dataset),) = taken
    assert syntax == ImplicitVRLittleEndian
    assert read_report(dataset) == read_report(report)


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
    (0x0122, Permanent, Reason.PEER_REFUSED),
    (0x0124, Permanent, Reason.PEER_REFUSED),
]


@pytest.mark.parametrize(
    ("status", "error", "reason"), STATUSES, ids=lambda v: f"{v:#06x}" if isinstance(v, int) else ""
)
def test_every_status_has_its_class(
    tmp_path: Path, report: Dataset, status: int, error: type[CodedError] | None, reason: Reason | None
) -> None:
    def answer(event: evt.Event) -> Dataset:
        reply = Dataset()
        reply.Status = status
        reply.ErrorComment = "Patient DOE^JANE is unknown"
        return reply

    with running_receiver(tmp_path, answer=answer, sop_classes=[Comprehensive3DSRStorage]) as receiver:
        if error is None:
            assert deliver(peer_at(receiver.port), [report], now=CREATED_AT).status == f"0x{status:04X}"
            return
        raised = outcome(peer_at(receiver.port), report)
    assert type(raised) is error
    assert raised.reason is reason
    assert f"0x{status:04X}" in raised.detail
    assert "DOE" not in raised.detail, "a peer's comment may name the patient, and a detail is stored and logged"
    assert "RECEIVER@127.0.0.1" in raised.detail


def test_every_status_has_a_verdict() -> None:
    verdicts = {status: judge_status(status) for status in range(0x10000)}
    assert {s for s, v in verdicts.items() if v is Verdict.STORED} == {0, 1, 0x107, 0x116, *range(0xB000, 0xC000)}
    assert {s for s, v in verdicts.items() if v is Verdict.BUSY} == {0x0213, *range(0xA700, 0xA800)}


def test_nobody_listens(report: Dataset) -> None:
    raised = outcome(peer_at(free_port()), report)
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.PEER_UNREACHABLE


def test_a_name_that_nobody_knows(report: Dataset) -> None:
    peer = DimsePeer(name="pacs", host="pacs.invalid", port=104, ae_title="PACS")
    assert outcome(peer, report).reason is Reason.PEER_UNREACHABLE
    assert not peer.is_loopback


def test_a_silent_socket_is_given_up(report: Dataset) -> None:
    with raw_listener(lambda connection: None) as port:
        started = time.monotonic()
        raised = outcome(peer_at(port, timeout_s=0.5), report)
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.PEER_UNREACHABLE
    assert time.monotonic() - started < 5


def test_a_connection_closed_at_once(report: Dataset) -> None:
    with raw_listener(lambda connection: connection.close()) as port:
        raised = outcome(peer_at(port, timeout_s=5), report)
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.ASSOCIATION_LOST


def test_something_else_listens_there(report: Dataset) -> None:
    with raw_listener(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        raised = outcome(peer_at(port, timeout_s=2), report)
    assert isinstance(raised, Transient)
    assert raised.reason in (Reason.ASSOCIATION_LOST, Reason.PEER_UNREACHABLE)


def test_a_peer_that_accepts_and_then_never_answers(tmp_path: Path, report: Dataset) -> None:
    release = threading.Event()

    def answer(event: evt.Event) -> int:
        release.wait(10)
        return 0x0000

    with running_receiver(tmp_path, answer=answer) as receiver:
        raised = outcome(peer_at(receiver.port, timeout_s=0.5), report)
        release.set()
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.PEER_UNREACHABLE


def test_a_peer_that_stops_reading(tmp_path: Path, report: Dataset) -> None:
    held = threading.Event()

    def hold_data(event: evt.Event) -> None:
        if event.pdu.pdu_type == 0x04:
            held.wait(20)

    large = dcmread(BytesIO(encoded(report)))
    large.add_new(0x00431001, "OB", bytes(64 * 1024 * 1024))
    ae = AE(ae_title="RECEIVER")
    ae.add_supported_context(Comprehensive3DSRStorage)
    port = free_port()
    # The handler of the first PDU with data keeps the thread that reads the socket.
    ae.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[(evt.EVT_PDU_RECV, hold_data)],
    )
    try:
        started = time.monotonic()
        raised = outcome(peer_at(port, timeout_s=1), large)
        took = time.monotonic() - started
    finally:
        held.set()
        ae.shutdown()
    assert isinstance(raised, Transient)
    assert took < 10


def test_an_abort_in_the_middle(tmp_path: Path, report: Dataset) -> None:
    def answer(event: evt.Event) -> int:
        event.assoc.abort()
        return 0x0000

    with running_receiver(tmp_path, answer=answer) as receiver:
        raised = outcome(peer_at(receiver.port, timeout_s=10), report)
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.ASSOCIATION_LOST


def test_a_typo_in_the_called_ae_title(tmp_path: Path, report: Dataset) -> None:
    with running_receiver(tmp_path, require_called_ae_title=True) as receiver:
        raised = outcome(peer_at(receiver.port, ae_title="RECIEVER"), report)
        assert isinstance(raised, Transient)
        assert raised.reason is Reason.ASSOCIATION_REJECTED
        assert "Called AE title not recognised" in raised.detail
        assert "Rejected Permanent" in raised.detail
        deliver(peer_at(receiver.port), [report], now=CREATED_AT)


def test_a_caller_that_the_peer_does_not_know(tmp_path: Path, report: Dataset) -> None:
    with running_receiver(tmp_path, require_calling_ae_titles=["SOMEONE"]) as receiver:
        raised = outcome(peer_at(receiver.port), report)
    assert isinstance(raised, Transient)
    assert "Calling AE title not recognised" in raised.detail


def test_a_peer_without_structured_reports(tmp_path: Path, report: Dataset) -> None:
    with running_receiver(tmp_path, sop_classes=[CTImageStorage]) as receiver:
        raised = outcome(peer_at(receiver.port), report)
    assert isinstance(raised, Permanent)
    assert raised.reason is Reason.NO_ACCEPTED_CONTEXT
    assert "Comprehensive 3D SR Storage" in raised.detail


def test_a_peer_that_takes_the_report_but_not_the_image(tmp_path: Path, report: Dataset) -> None:
    image = header()
    image.file_meta = report.file_meta
    with running_receiver(tmp_path, sop_classes=[Comprehensive3DSRStorage]) as receiver:
        with pytest.raises(Permanent) as caught:
            deliver(peer_at(receiver.port), [report, image], now=CREATED_AT)
        assert caught.value.reason is Reason.NO_ACCEPTED_CONTEXT
        assert "CT Image Storage" in caught.value.detail


def test_echo(receiver: Receiver) -> None:
    echo(peer_at(receiver.port))
    with pytest.raises(Transient) as caught:
        echo(peer_at(free_port()))
    assert caught.value.reason is Reason.PEER_UNREACHABLE


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("::1", True),
        ("192.0.2.7", False),
    ],
)
def test_loopback_is_decided_by_address(host: str, expected: bool) -> None:
    assert DimsePeer(name="x", host=host, port=104, ae_title="X").is_loopback is expected


def test_small_objects_do_not_wait_for_nagle(report: Dataset) -> None:
    """Read from the sender's own socket while it sends: how long it takes depends on the machine."""
    options: list[int] = []

    def look(_event: evt.Event) -> int:
        sockets = [thing for thing in gc.get_objects() if isinstance(thing, socket.socket) and thing.fileno() >= 0]
        (sender,) = [one for one in sockets if one.family == socket.AF_INET and _peer_port(one) == port]
        options.append(sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        return 0x0000

    ae = AE(ae_title="RECEIVER")
    ae.add_supported_context(Comprehensive3DSRStorage)
    port = free_port()
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, look)])
    try:
        deliver(peer_at(port), [report], now=CREATED_AT)
    finally:
        ae.shutdown()
    assert options == [1]


def _peer_port(connection: socket.socket) -> int | None:
    try:
        return int(connection.getpeername()[1])
    except OSError:
        return None


@contextmanager
def dcmtk_storescp(folder: Path, *options: str) -> Iterator[int]:
    if shutil.which("storescp") is None:
        pytest.skip("storescp is not installed (Debian: dcmtk)")
    port = free_port()
    command = ["storescp", "--aetitle", "RECEIVER", "--output-directory", str(folder), *options, str(port)]
    process = subprocess.Popen(
        command, env=os.environ | {"TCP_NODELAY": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.mark.parametrize("options", [(), ("--implicit",), ("+xe",)], ids=["default", "implicit", "explicit"])
def test_dcmtk_takes_it(tmp_path: Path, report: Dataset, options: tuple[str, ...]) -> None:
    with dcmtk_storescp(tmp_path, *options) as port:
        deliver(peer_at(port), [report], now=CREATED_AT)
    (file,) = tmp_path.iterdir()
    assert read_report(dcmread(file)) == read_report(report)


def test_dcmtk_refuses_the_association(tmp_path: Path, report: Dataset) -> None:
    with dcmtk_storescp(tmp_path, "--refuse") as port:
        raised = outcome(peer_at(port), report)
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.ASSOCIATION_REJECTED


def test_dcmtk_aborts_during_the_store(tmp_path: Path, report: Dataset) -> None:
    with dcmtk_storescp(tmp_path, "--abort-during") as port:
        raised = outcome(peer_at(port), report)
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.ASSOCIATION_LOST


def test_orthanc_files_it_with_the_study(orthanc: Orthanc, report: Dataset) -> None:
    peer = peer_at(orthanc.dicom_port, ae_title=orthanc.ae_title)
    echo(peer)
    for _ in range(2):
        deliver(peer, [report], now=CREATED_AT)
    (stored,) = orthanc.instances(StudyInstanceUID=report.StudyInstanceUID)
    assert read_report(stored) == read_report(report)
    assert stored.PatientName == report.PatientName
    assert stored.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
