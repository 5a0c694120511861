"""What a daemon gets that it can't read: the sender sees a status, the operator sees a reason, the daemon lives on."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import CTImageStorage, generate_uid
from pynetdicom.dsutils import split_dataset

from ichd.domain.reason import Reason
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.publish.send import send_folder
from tests.acceptance.daemon import Daemon, running, wait_until
from tests.intake.senders import Sender, as_data_set, claimed_uid

ENDED = ("reported", "not_analysed", "failed")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(Daemon(tmp_path_factory.mktemp("bad-input"))) as started:
        yield started


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    recipe = PhantomRecipe(seed=21, slices=16, rows=128, voxel_mm=2.0)
    return write_series(render(recipe), tmp_path_factory.mktemp("head"))


@pytest.fixture(scope="module")
def test_data() -> Path:
    root = os.environ.get("ICHD_TEST_DATA")
    if not root:
        pytest.skip("ICHD_TEST_DATA is not set: malformed and chest CT data are not part of this project")
    return Path(root)


def variant(files: list[Path], folder: Path, change: Callable[[pydicom.Dataset], None]) -> str:
    """A study of its own with something wrong; returns its Study Instance UID."""
    folder.mkdir()
    study_uid, series_uid = generate_uid(), generate_uid()
    for path in files:
        image = pydicom.dcmread(path)
        image.StudyInstanceUID, image.SeriesInstanceUID = study_uid, series_uid
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        change(image)
        image.save_as(folder / path.name)
    return study_uid


def without_position(image: pydicom.Dataset) -> None:
    del image.ImagePositionPatient


def localizer(image: pydicom.Dataset) -> None:
    image.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def coronal(image: pydicom.Dataset) -> None:
    image.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    x, y, z = image.ImagePositionPatient
    image.ImagePositionPatient = [x, z, y]


@pytest.mark.parametrize(
    ("change", "slices", "reason"),
    [
        (without_position, 12, Reason.MISSING_GEOMETRY),
        (localizer, 2, Reason.LOCALIZER),
        (coronal, 12, Reason.NOT_AXIAL),
        (lambda image: None, 1, Reason.TOO_FEW_SLICES),
    ],
    ids=["missing geometry", "localizer only", "coronal", "one slice"],
)
def test_a_study_that_can_not_be_read_is_stored_and_says_why(
    daemon: Daemon,
    head: list[Path],
    tmp_path: Path,
    change: Callable[[pydicom.Dataset], None],
    slices: int,
    reason: Reason,
) -> None:
    study_uid = variant(head[:slices], tmp_path / "study", change)
    summary = send_folder(daemon.peer, [tmp_path / "study"], progress=lambda *_: None)
    assert (summary.sent, summary.refused) == (slices, ())
    study = daemon.wait_for(study_uid, *ENDED)
    assert (study["state"], study["reason"]) == ("not_analysed", reason)
    assert (study["images"], study["slices"]) == (slices, [])


def test_a_chest_is_not_read(daemon: Daemon, test_data: Path, tmp_path: Path) -> None:
    chest = test_data / "transfer-syntaxes" / "CTImage.dcm_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm"
    study_uid = generate_uid()
    folder = tmp_path / "chest"
    folder.mkdir()
    image = pydicom.dcmread(chest)
    image.StudyInstanceUID = study_uid
    x, y, z = image.ImagePositionPatient
    for number in range(20):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.ImagePositionPatient = [x, y, z + 6 * number]
        image.save_as(folder / f"{number}.dcm")
    send_folder(daemon.peer, [folder], progress=lambda *_: None)
    study = daemon.wait_for(study_uid, *ENDED)
    assert (study["state"], study["reason"]) == ("not_analysed", Reason.NOT_A_HEAD)


@pytest.mark.parametrize(
    ("spoil", "status", "reason"),
    [
        (lambda content, image: b"this is no data set" * 100, 0xC000, Reason.NOT_DICOM),
        (lambda content, image: content[: len(content) // 2], 0xC001, Reason.TRUNCATED),
        (lambda content, image: content.replace(b"CS\x02\x00CT", b"CS\x02\x00MR"), 0xA900, Reason.WRONG_MODALITY),
        (lambda content, image: content.replace(image.SOPInstanceUID.encode(), b"9" * 10), 0xC000, None),
    ],
    ids=["not DICOM", "truncated", "wrong modality", "UID of another length"],
)
def test_an_image_that_can_not_be_stored_is_refused_with_status_and_reason(
    daemon: Daemon,
    head: list[Path],
    spoil: Callable[[bytes, pydicom.Dataset], bytes],
    status: int,
    reason: Reason | None,
) -> None:
    image = pydicom.dcmread(head[0], stop_before_pixels=True)
    _, offset = split_dataset(head[0])
    content = head[0].read_bytes()[offset:]
    with Sender(daemon.port) as sender:
        answer = sender.store(spoil(content, image), str(image.SOPInstanceUID), sop_class_uid=CTImageStorage)
    assert answer.status is not None
    assert answer.status & 0xF000 == status & 0xF000
    newest = daemon.ichd("status")["refusals"][0]
    assert newest["calling_ae_title"] == "SCANNER"
    if reason is not None:
        assert answer.status == status
        assert newest["reason"] == reason


def test_all_malformed_files_are_stored_or_refused_and_none_is_stuck(daemon: Daemon, test_data: Path) -> None:
    before = set(daemon.studies())
    paths = sorted((test_data / "malformed").rglob("*.dcm"))
    assert len(paths) == 123
    answers = []
    for path in paths:
        syntax, dataset = as_data_set(path.read_bytes())
        with Sender(daemon.port, transfer_syntax_uid=syntax) as sender:
            answers.append(sender.store(dataset, claimed_uid(path)).status)
    assert None not in answers
    assert {0x0000, 0xA900, 0xC000, 0xC001} <= set(answers)
    assert daemon.answers()

    def all_ended() -> bool:
        return all(s["state"] in ENDED for uid, s in daemon.studies().items() if uid not in before)

    wait_until(all_ended, f"a malformed study never ended; see {daemon.log}", poll_s=1.0)
    for uid, study in daemon.studies().items():
        if uid not in before:
            assert study["state"] != "failed", study
            assert study["reason"], study
