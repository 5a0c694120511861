"""What the pixels say about their own quality reaches the finding as a note, or keeps the model from speaking."""

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from ichd.app.predict import gather, group, predict
from ichd.domain.finding import Triage
from ichd.domain.note import Remark
from ichd.domain.reason import Reason
from ichd.domain.refusal import SelectionPolicy
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.pipeline.reading import ReadingPolicy, ReadStudy, UnreadStudy, read_study
from ichd.vision.reader import Reader

POLICY = ReadingPolicy(selection=SelectionPolicy(), require_head=True)


@pytest.fixture
def head(tmp_path: Path) -> list[Path]:
    recipe = PhantomRecipe(seed=9, slices=22, rows=128, voxel_mm=2.5, fov_mm=272.0, tilt_deg=0.0)
    return write_series(render(recipe), tmp_path)


def read(paths: list[Path], reader: Reader) -> ReadStudy | UnreadStudy:
    gathered = gather(paths)
    (study,) = group(gathered.facts)
    return read_study(study, gathered.files, reader.read, reader.engine.bundle.rule, POLICY)


def rewrite(paths: list[Path], change: Callable[[Dataset], None]) -> None:
    for path in paths:
        image = pydicom.dcmread(path)
        change(image)
        image.save_as(path)


def test_a_scan_without_a_vertex_is_read_with_a_note_and_never_routine(head: list[Path], reader: Reader) -> None:
    outcome = read(head[:17], reader)
    assert isinstance(outcome, ReadStudy)
    assert Remark.VERTEX_MISSING in {note.remark for note in outcome.finding.prediction.notes if note.unseen}
    assert outcome.finding.triage is not Triage.ROUTINE


def no_intercept(image: Dataset) -> None:
    image.RescaleIntercept = "0"


def test_another_scale_is_its_own_reason(head: list[Path], reader: Reader) -> None:
    """Not that it is no head, which is what thresholds in HU would say."""
    rewrite(head, no_intercept)
    outcome = read(head, reader)
    assert isinstance(outcome, UnreadStudy)
    assert outcome.reason is Reason.IMPLAUSIBLE_HU
    assert "what should be air lies at" in outcome.detail


def test_predict_reads_what_the_daemon_would_not(head: list[Path], reader: Reader) -> None:
    rewrite(head, no_intercept)
    (record,) = predict(gather(head), reader, POLICY)
    assert record["triage"] == "indeterminate"
    assert record["daemon_would_skip"]["reason"] == "implausible_hu"


def lose_the_sign(image: Dataset) -> None:
    """Twelve bits of the HU, called unsigned."""
    hu = image.pixel_array.astype(int) + int(image.RescaleIntercept)
    image.PixelData = (hu.clip(-1000, 3095) & 0xFFF).astype("<u2").tobytes()
    image.BitsStored, image.HighBit, image.PixelRepresentation, image.RescaleIntercept = 12, 11, 0, "0"
    image.pop("PixelPaddingValue", None)


def test_an_image_that_lost_its_sign_is_repaired_and_read(head: list[Path], reader: Reader) -> None:
    rewrite(head, lose_the_sign)
    outcome = read(head, reader)
    assert isinstance(outcome, ReadStudy)
    assert Remark.HU_REPAIRED in {note.remark for note in outcome.finding.prediction.notes}
