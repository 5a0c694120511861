"""The main job, end to end, with peers that are not ours: dcmtk sends, `ichd serve` reads, Orthanc keeps the report."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest

from ichd.app.plain import plain_recipe
from ichd.domain.finding import CLASSES, Presence
from ichd.phantom import BLEED_KINDS, PhantomRecipe, render, write_series
from ichd.report.readable import ReadableReport, read_report
from tests.acceptance.conftest import Storescu
from tests.acceptance.daemon import Daemon, Destination, running
from tests.peers.orthanc import Orthanc

#: What a report takes over from its source as it stands (PS3.3 C.7.1.1 and C.7.2.1).
PATIENT_AND_STUDY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)

Trip = Callable[[list[Path]], ReadableReport]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, orthanc: Orthanc) -> Iterator[Daemon]:
    """One that takes all trips, and ends as it should."""
    destination = Destination(ae_title=orthanc.ae_title, port=orthanc.dicom_port)
    with running(Daemon(tmp_path_factory.mktemp("daemon"), destinations=[destination])) as daemon:
        yield daemon
        assert daemon.stop() == 0


@pytest.fixture
def trip(
    tmp_path: Path, daemon: Daemon, orthanc: Orthanc, storescu: Storescu, dciodvfy: Callable[[Path], list[str]]
) -> Trip:
    """Send a series, wait for its report in Orthanc, and hold the report against what every report must be."""

    def go(files: list[Path]) -> ReadableReport:
        source = pydicom.dcmread(files[0], stop_before_pixels=True)
        study_uid = str(source.StudyInstanceUID)
        storescu(daemon.port, files)
        study = daemon.wait_for(study_uid, "reported", "not_analysed", "failed")
        predicted = daemon.ichd("predict", *map(str, files))
        assert study["state"] == "reported", study

        (delivery,) = study["deliveries"]
        assert delivery["status"] == "0x0000"
        objects = {str(each.SOPInstanceUID): each for each in orthanc.instances(StudyInstanceUID=study_uid)}
        assert sorted(objects) == sorted(delivery["sop_instance_uids"])
        report, key_objects, summary = (objects[uid] for uid in delivery["sop_instance_uids"])
        assert report.SOPClassUID.name == "Comprehensive 3D SR Storage"
        assert (key_objects.Modality, summary.SOPClassUID.name) == ("KO", "Secondary Capture Image Storage")
        for each in (report, key_objects, summary):
            for keyword in PATIENT_AND_STUDY:
                assert str(each.get(keyword) or "") == str(source.get(keyword) or ""), keyword
            path = tmp_path / f"{each.Modality}.dcm"
            each.save_as(path)
            assert dciodvfy(path) == []

        for name in CLASSES:
            assert study["scan"][name] == pytest.approx(predicted["scan"][name], abs=1e-6)
        for stored, fresh in zip(study["slices"], predicted["slices"], strict=True):
            assert stored["sop_uid"] == fresh["sop_uid"]
            assert stored["p"] == pytest.approx(fresh["p"], abs=1e-6)
        readable = read_report(report)
        assert {c.name: c.probability for c in readable.classes} == pytest.approx(study["scan"], abs=1e-6)
        assert readable.model.demonstration
        assert "demonstration only" in readable.model.statement
        return readable

    return go


def test_the_real_head_ct_gets_its_report(head_ct: list[Path], trip: Trip) -> None:
    report = trip(head_ct)
    (any_haemorrhage, *_) = report.classes
    assert any_haemorrhage.presence is Presence.ABSENT, "the real head CT is free of blood"


@pytest.mark.parametrize("bleed", BLEED_KINDS)
def test_a_phantom_that_bleeds_is_called_by_its_kind(bleed: str, trip: Trip, tmp_path: Path) -> None:
    files = write_series(render(plain_recipe(PhantomRecipe(seed=7, bleeds=(bleed,)))), tmp_path / "phantom")
    report = trip(files)
    presence = {c.name: c.presence for c in report.classes}
    assert presence["any"] is Presence.PRESENT
    assert presence[bleed] is Presence.PRESENT
    truly_bleeding = {c.name: c.key_slices for c in report.classes}[bleed]
    assert truly_bleeding


def test_no_identifying_value_is_in_any_log_line_or_database_byte(
    tmp_path: Path, orthanc: Orthanc, storescu: Storescu
) -> None:
    marks = {"patient_name": "ZEBRAFINCH^QUAGGA", "patient_id": "PID-7Q4X9", "patient_birth_date": "19470229"}
    files = write_series(render(PhantomRecipe(seed=11, slices=12)), tmp_path / "phantom")
    for path in files:
        image = pydicom.dcmread(path)
        image.PatientName, image.PatientID = marks["patient_name"], marks["patient_id"]
        image.PatientBirthDate = marks["patient_birth_date"]
        # What a site types into fields that are not about the patient, and what a clumsy anonymiser leaves behind.
        image.PatientComments = image.OtherPatientNames = marks["patient_name"]
        image.SliceThickness = None
        image.save_as(path)
    daemon = Daemon(tmp_path / "daemon", [Destination(ae_title=orthanc.ae_title, port=orthanc.dicom_port)])
    study_uid = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    with running(daemon):
        storescu(daemon.port, files)
        daemon.wait_for(study_uid, "reported", "not_analysed", "failed")
        daemon.stop()
    looked_at = [daemon.log, *daemon.folder.glob("ichd.db*")]
    assert all(path.stat().st_size for path in looked_at[:2])
    for path in looked_at:
        content = path.read_bytes().lower()
        for value in (*marks.values(), "zebrafinch", "quagga"):
            assert value.lower().encode() not in content, f"{value} in {path.name}"
