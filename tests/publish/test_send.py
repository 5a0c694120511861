"""`ichd send`: files as they are, and an account of each."""

import hashlib
import os
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
)
from pynetdicom import AE, evt
from pynetdicom.dsutils import split_dataset

from ichd.domain.errors import Transient, UserError
from ichd.domain.reason import Reason
from ichd.publish import send
from ichd.publish.peer import DimsePeer
from tests.peers.ports import free_port
from tests.peers.storescp import Receiver, running_receiver
from tests.report.findings import header


def silent(done: int, total: int) -> None:
    pass


def peer_at(port: int) -> DimsePeer:
    return DimsePeer(name="pacs", host="127.0.0.1", port=port, ae_title="RECEIVER")


def write_image(
    folder: Path, index: int, syntax: str = ExplicitVRLittleEndian, sop_class: str = CTImageStorage
) -> Path:
    image = header(index)
    image.SOPClassUID = sop_class
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(syntax)
    path = folder / f"{index:03d}"
    folder.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)
    return path


def payload(path: Path) -> bytes:
    """The data set's bytes, without preamble and File Meta Information."""
    _, offset = split_dataset(path)
    return path.read_bytes()[offset:]


def test_files_arrive_byte_for_byte_in_their_own_syntax(receiver: Receiver, tmp_path: Path) -> None:
    syntaxes = [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ]
    files = {f"2.25.33333{i:04d}": write_image(tmp_path / "in", i, s) for i, s in enumerate(syntaxes)}
    summary = send.send_folder(peer_at(receiver.port), [tmp_path / "in"], progress=silent)
    assert (summary.sent, summary.refused, summary.skipped) == (4, (), ())
    assert receiver.associations == 1
    for received in receiver.files():
        assert payload(received) == payload(files[received.stem])
        assert dcmread(received).file_meta.TransferSyntaxUID in syntaxes


def test_what_is_no_dicom_is_skipped_with_its_reason(receiver: Receiver, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_image(folder, 0)
    (folder / "notes.txt").write_text("not an image")
    (folder / "empty").write_bytes(b"")
    (folder / "short").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "cut").write_bytes((folder / "000").read_bytes()[:150])
    summary = send.send_folder(peer_at(receiver.port), [folder], progress=silent)
    assert summary.sent == 1
    reasons = {skipped.path.name: skipped.reason for skipped in summary.skipped}
    assert set(reasons) == {"notes.txt", "empty", "short", "cut"}
    assert reasons["notes.txt"] == "not a DICOM file"
    assert all(reasons.values())


def test_progress_counts_to_the_end(receiver: Receiver, tmp_path: Path) -> None:
    for i in range(3):
        write_image(tmp_path / "in" / str(i), i)
    seen: list[tuple[int, int]] = []
    send.send_folder(peer_at(receiver.port), [tmp_path / "in"], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_refusal_does_not_stop_the_others(tmp_path: Path) -> None:
    files = [write_image(tmp_path / "in", i) for i in range(3)]

    def answer(event: evt.Event) -> Dataset:
        reply = Dataset()
        reply.Status = 0xC001 if str(event.dataset.SOPInstanceUID).endswith("1") else 0xB000
        if reply.Status == 0xC001:
            reply.ErrorComment = "no head"
        return reply

    with running_receiver(tmp_path / "out", answer=answer) as receiver:
        summary = send.send_folder(peer_at(receiver.port), files, progress=silent)
    assert summary.sent == 2
    (refused,) = summary.refused
    assert refused.path == files[1]
    assert refused.status == "0xC001 no head"


def test_a_class_that_the_peer_does_not_accept_is_refused_by_name(tmp_path: Path) -> None:
    write_image(tmp_path / "in", 0)
    mr = write_image(tmp_path / "in", 1, sop_class=MRImageStorage)
    with running_receiver(tmp_path / "out", sop_classes=[CTImageStorage]) as receiver:
        summary = send.send_folder(peer_at(receiver.port), [tmp_path / "in"], progress=silent)
    assert summary.sent == 1
    assert summary.refused[0].path == mr
    assert "MR Image Storage" in summary.refused[0].status


def test_nothing_is_re_encoded_for_a_peer_of_another_syntax(tmp_path: Path) -> None:
    write_image(tmp_path / "in", 0, ExplicitVRLittleEndian)
    compressed = write_image(tmp_path / "in", 1, JPEG2000Lossless)
    ae = AE(ae_title="RECEIVER")
    ae.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
    port = free_port()
    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: 0x0000)])
    try:
        summary = send.send_folder(peer_at(port), [tmp_path / "in"], progress=silent)
    finally:
        ae.shutdown()
    assert summary.sent == 1
    assert summary.refused[0].path == compressed
    assert "JPEG 2000" in summary.refused[0].status


def test_more_contexts_than_one_association_carries(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "MAX_CONTEXTS", 2)
    for i, syntax in enumerate([ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian] * 2):
        write_image(tmp_path / "in", i, syntax)
    assert send.send_folder(peer_at(receiver.port), [tmp_path / "in"], progress=silent).sent == 6
    assert receiver.associations == 2


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        send.send_folder(peer_at(free_port()), [tmp_path / "nowhere"], progress=silent)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(Transient) as caught:
        send.send_folder(peer_at(free_port()), [write_image(tmp_path, 0)], progress=silent)
    assert caught.value.reason is Reason.PEER_UNREACHABLE


def test_nothing_to_send_asks_nobody(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    summary = send.send_folder(peer_at(free_port()), [tmp_path], progress=silent)
    assert (summary.sent, len(summary.skipped)) == (0, 1)


@pytest.mark.parametrize("folder", ["head-ct-ge", "transfer-syntaxes", "malformed"])
def test_real_files_arrive_or_are_accounted_for(folder: str, receiver: Receiver) -> None:
    root = os.environ.get("ICHD_TEST_DATA")
    if root is None:
        pytest.skip("ICHD_TEST_DATA is not set")
    files = [p for p in (Path(root) / folder).rglob("*") if p.is_file()]
    summary = send.send_folder(peer_at(receiver.port), [Path(root) / folder], progress=silent)
    assert summary.sent == len(receiver.received)
    assert summary.sent + len(summary.refused) + len(summary.skipped) == len(files)
    assert summary.sent > 0
    digests = {hashlib.sha256(payload(p)).digest() for p in files if p not in {s.path for s in summary.skipped}}
    assert all(hashlib.sha256(payload(p)).digest() in digests for p in receiver.files())
