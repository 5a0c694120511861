"""Storage commitment as a hospital sees it: the listener role with its settings, asked by Orthanc and by pynetdicom."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, StorageCommitmentPushModel  # type: ignore[attr-defined]

from ichd.app.listener import run_listener
from ichd.app.sources import sources_by_ae_title
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.settings import DicomSettings, Settings, SourceSettings
from ichd.settings.sections import DatabaseSettings, SpoolSettings
from ichd.store.engine import migrate
from tests.peers.commitment_scu import running_commitment_scu
from tests.peers.orthanc import MISSING, running_orthanc
from tests.peers.ports import free_port

PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"


def until(condition: Callable[[], bool], *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@contextmanager
def running_listener(folder: Path, port: int, *, source: SourceSettings) -> Iterator[None]:
    settings = Settings(
        dicom=DicomSettings(port=port),
        database=DatabaseSettings(url=f"sqlite:///{folder / 'ichd.db'}"),
        spool=SpoolSettings(url=str(folder / "spool"), high_watermark=1.0),
        source=(source,),
    )
    migrate(settings.database.url)
    stop = threading.Event()
    role = threading.Thread(target=run_listener, args=(settings, stop))
    role.start()
    try:
        until(lambda: answers(port))
        yield
    finally:
        stop.set()
        role.join()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    phantom = render(PhantomRecipe(seed=5, slices=4, rows=64, voxel_mm=3.0))
    return write_series(phantom, tmp_path_factory.mktemp("series"))


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_orthanc_sends_asks_and_is_told(tmp_path: Path, series: list[Path]) -> None:
    port = free_port()
    modality = {"AET": "ICHD", "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True}
    with running_orthanc(tmp_path, DicomModalities={"ichd": modality}) as orthanc:
        source = SourceSettings(name="pacs", address=f"127.0.0.1:{orthanc.dicom_port}", ae_title=orthanc.ae_title)
        with running_listener(tmp_path, port, source=source):
            ids = [orthanc.post_file(path)["ID"] for path in series]
            orthanc.post_json("/modalities/ichd/store", ids)
            asked = orthanc.post_json("/modalities/ichd/storage-commitment", {"Resources": ids})
            report = orthanc.get_json(f"/storage-commitment/{asked['ID']}")
            until(lambda: orthanc.get_json(f"/storage-commitment/{asked['ID']}")["Status"] != "Pending")
            report = orthanc.get_json(f"/storage-commitment/{asked['ID']}")
            assert (report["Status"], report["RemoteAET"]) == ("Success", "ICHD")
            uids = {str(dcmread(path).SOPInstanceUID) for path in series}
            assert {each["SOPInstanceUID"] for each in report["Success"]} == uids
            assert report["Failures"] == []
            damaged = next((tmp_path / "spool").rglob("*.dcm"))
            uid = str(dcmread(damaged).SOPInstanceUID)
            damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x7f")
            asked = orthanc.post_json("/modalities/ichd/storage-commitment", {"Resources": ids})
            until(lambda: orthanc.get_json(f"/storage-commitment/{asked['ID']}")["Status"] != "Pending")
            report = orthanc.get_json(f"/storage-commitment/{asked['ID']}")
            assert report["Status"] == "Failure"
            assert [each["SOPInstanceUID"] for each in report["Failures"]] == [uid]
            assert len(report["Success"]) == len(series) - 1


def test_a_modality_that_is_switched_off_at_night_is_told_in_the_morning(tmp_path: Path, series: list[Path]) -> None:
    """It sends, asks and goes away; the listener is restarted; it comes back."""
    port, home = free_port(), free_port()
    source = SourceSettings(name="scanner", address=f"127.0.0.1:{home}", ae_title="CT1")
    images = [dcmread(path) for path in series]
    with running_listener(tmp_path, port, source=source):
        ae = AE(ae_title="CT1")
        ae.add_requested_context(CTImageStorage, images[0].file_meta.TransferSyntaxUID)
        ae.add_requested_context(StorageCommitmentPushModel)
        association = ae.associate("127.0.0.1", port, ae_title="ICHD")
        assert [association.send_c_store(each).Status for each in images] == [0x0000] * len(images)
        status, _ = association.send_n_action(question(images), 1, StorageCommitmentPushModel, PUSH_MODEL_INSTANCE)
        assert status.Status == 0x0000
        association.release()
    with (
        running_commitment_scu(port=home) as scanner,
        running_listener(tmp_path, port, source=source),
    ):
        (report,) = scanner.wait_for(timeout_s=60.0)
    assert report.event_type == 1
    assert report.committed == [(str(CTImageStorage), str(each.SOPInstanceUID)) for each in images]


def test_an_ae_that_no_source_names_is_told_so(tmp_path: Path, series: list[Path]) -> None:
    port = free_port()
    source = SourceSettings(name="scanner", address=f"127.0.0.1:{free_port()}", ae_title="CT1")
    with running_listener(tmp_path, port, source=source):
        ae = AE(ae_title="CT2")
        ae.add_requested_context(StorageCommitmentPushModel)
        association = ae.associate("127.0.0.1", port, ae_title="ICHD")
        asked = question([dcmread(series[0])])
        status, _ = association.send_n_action(asked, 1, StorageCommitmentPushModel, PUSH_MODEL_INSTANCE)
        association.release()
    assert (status.Status, status.ErrorComment) == (0x0124, "no [[source]] has this AE title")


def question(images: Sequence[Dataset]) -> Dataset:
    information = Dataset()
    information.TransactionUID = "1.2.840.99.7"
    information.ReferencedSOPSequence = []
    for each in images:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = each.SOPClassUID, each.SOPInstanceUID
        information.ReferencedSOPSequence.append(item)
    return information


def test_of_two_sources_with_one_ae_title_the_first_is_told() -> None:
    settings = Settings(
        source=(
            SourceSettings(name="web", kind="dicomweb", url="https://pacs/dicom-web"),
            SourceSettings(name="first", address="10.0.0.1:104", ae_title="CT1"),
            SourceSettings(name="second", address="10.0.0.2:104", ae_title="CT1"),
        )
    )
    assert {title: source.name for title, source in sources_by_ae_title(settings).items()} == {"CT1": "first"}
