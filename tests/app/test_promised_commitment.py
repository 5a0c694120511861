"""Storage commitment as a user: Orthanc is asked about a report, looks, and tells our listener."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from ichd.domain.job import JobKind
from ichd.intake.commitment import PUSH_MODEL_INSTANCE
from ichd.report.sr import build_report
from ichd.settings import SourceSettings
from ichd.store.engine import migrate, open_database
from ichd.store.promises import Promise, Promises
from ichd.store.spool import Spool
from tests.app.test_storage_commitment import running_listener, until
from tests.peers.orthanc import MISSING, Orthanc, running_orthanc
from tests.peers.ports import free_port
from tests.report.findings import CONTEXT, bleeding, header
from tests.store.house import house_on

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def delivered(folder: Path, transaction_uid: str) -> Promises:
    """A store with a delivery to Orthanc (job 2) that is about to ask for commitment."""
    url = f"sqlite:///{folder / 'ichd.db'}"
    migrate(url)
    engine = open_database(url)
    house = house_on(engine, Spool(folder / "elsewhere"), now=datetime.now(UTC))
    house.ready()
    house.analyse("pacs")
    assert house.claim(kinds=(JobKind.PUBLISH,)).id == 2
    promises = Promises(engine)
    promises.ask(2, transaction_uid, "ORTHANC", datetime.now(UTC))
    return promises


def ask(orthanc: Orthanc, transaction_uid: str, *objects: Dataset) -> None:
    """N-ACTION, and away before the answer."""
    ae = AE(ae_title="ICHD")
    ae.add_requested_context(StorageCommitmentPushModel)
    association = ae.associate("127.0.0.1", orthanc.dicom_port, ae_title=orthanc.ae_title)
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = []
    for each in objects:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = each.SOPClassUID, each.SOPInstanceUID
        information.ReferencedSOPSequence.append(item)
    status, _ = association.send_n_action(information, 1, StorageCommitmentPushModel, PUSH_MODEL_INSTANCE)
    assert status.Status == 0x0000
    association.release()


def answer(promises: Promises, transaction_uid: str) -> Promise:
    def answered() -> Promise | None:
        promise = promises.verdict(2)
        return promise if promise and promise.transaction_uid == transaction_uid and promise.answered_at else None

    until(lambda: answered() is not None)
    promise = answered()
    assert promise is not None
    return promise


def test_orthanc_takes_responsibility_for_what_it_has_and_for_nothing_else(tmp_path: Path) -> None:
    port = free_port()
    modality = {"AET": "ICHD", "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True}
    report = build_report(bleeding(), [header()], CONTEXT)
    lost = Dataset()
    lost.SOPClassUID, lost.SOPInstanceUID = report.SOPClassUID, "2.25.404"
    path = tmp_path / "report.dcm"
    report.save_as(path, enforce_file_format=True)
    with running_orthanc(tmp_path, DicomModalities={"ichd": modality}) as orthanc:
        promises = delivered(tmp_path, "2.25.1001")
        source = SourceSettings(name="scanner", address=f"127.0.0.1:{free_port()}", ae_title="CT1")
        with running_listener(tmp_path, port, source=source):
            orthanc.post_file(path)
            ask(orthanc, "2.25.1001", report)
            assert answer(promises, "2.25.1001").committed == (report.SOPInstanceUID,)
            promises.ask(2, "2.25.1002", "ORTHANC", datetime.now(UTC))
            ask(orthanc, "2.25.1002", report, lost)
            assert answer(promises, "2.25.1002").committed == (report.SOPInstanceUID,)
