"""Which series of real files is read, where pixels have a word: one kind of series a case."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from ichd.app.predict import gather, group, predict
from ichd.domain.note import Remark
from ichd.domain.reason import Reason
from ichd.domain.refusal import SelectionPolicy
from ichd.domain.study import MULTI_FRAME_CT
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.pipeline.choice import Choice, Chosen, unfold
from ichd.pipeline.reading import ReadingPolicy
from ichd.vision.reader import Reader
from tests.vision.enhanced import enhanced

POLICY = ReadingPolicy(selection=SelectionPolicy(), require_head=True)
SPACING_MM = 2.0
needs_data = pytest.mark.skipif("ICHD_TEST_DATA" not in os.environ, reason="ICHD_TEST_DATA is not set")

Image = NDArray[np.float64]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    recipe = PhantomRecipe(
        seed=9, slices=28, rows=128, voxel_mm=2.0, fov_mm=128 * SPACING_MM, tilt_deg=0.0, thickness_mm=5.0
    )
    return write_series(render(recipe), tmp_path_factory.mktemp("head"))


def another_series(
    files: list[Path], folder: Path, *, paint: Callable[[Image], Image] | None = None, **attributes: object
) -> list[Path]:
    """A series of the same study with other attributes, or other pixels: `paint` gets HU and gives HU."""
    folder.mkdir()
    series_uid = generate_uid()
    written = []
    for path in files:
        image = pydicom.dcmread(path)
        image.SeriesInstanceUID = series_uid
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        for keyword, value in attributes.items():
            setattr(image, keyword, value)
        if paint is not None:
            hu = paint(image.pixel_array.astype(float) + float(image.RescaleIntercept))
            image.PixelData = (hu - float(image.RescaleIntercept)).round().astype("<i2").tobytes()
        image.save_as(folder / path.name)
        written.append(folder / path.name)
    return written


def one_series(files: list[Path], folder: Path, *more: list[Path]) -> list[Path]:
    """Files of several series, as one."""
    folder.mkdir()
    first = pydicom.dcmread(files[0], stop_before_pixels=True)
    written = []
    for number, path in enumerate([*files, *(p for part in more for p in part)]):
        image = pydicom.dcmread(path)
        image.SeriesInstanceUID = first.SeriesInstanceUID
        image.InstanceNumber = number + 1
        image.save_as(folder / f"{number:03}.dcm")
        written.append(folder / f"{number:03}.dcm")
    return written


def choose(paths: list[Path]) -> tuple[Chosen | None, Choice]:
    gathered = gather(paths)
    (study,) = group(gathered.facts)
    choice = Choice(unfold(study, gathered.files), gathered.files, POLICY.selection, head_only=POLICY.require_head)
    return choice.settle(), choice


def reasons(choice: Choice) -> list[Reason | None]:
    return [line.refusal.reason if line.refusal else None for line in choice.ranking]


def uid(paths: list[Path]) -> str:
    return str(pydicom.dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID)


ROWS, COLUMNS = np.mgrid[:128, :128] - 63.5
NOISE = np.random.default_rng(0)


def disc(diameter_mm: float, *, row: float = 0.0, column: float = 0.0) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.hypot(ROWS - row, COLUMNS - column) * SPACING_MM <= diameter_mm / 2
    return inside


def noisy(hu: Image) -> Image:
    return hu + NOISE.normal(0.0, 4.0, hu.shape)


def neck(_: Image) -> Image:
    hu = np.full((128, 128), -1000.0)
    hu[disc(130)] = 50
    hu[disc(35, row=6)] = 900
    hu[disc(18, row=-16)] = -1000
    return noisy(hu)


def chest(_: Image) -> Image:
    hu = np.full((128, 128), -1000.0)
    hu[disc(240)] = 40
    hu[disc(100, column=-28)] = -850
    hu[disc(100, column=28)] = -850
    return noisy(hu)


def water(_: Image) -> Image:
    return noisy(np.where(disc(200), 0.0, -1000.0))


def water_in_plaster(_: Image) -> Image:
    """A head phantom: what makes it a head by its numbers is all there."""
    hu = water(_)
    hu[disc(200) & ~disc(184)] = 900
    hu[disc(184)] += 20
    return hu


def air(_: Image) -> Image:
    return noisy(np.full((128, 128), -1000.0))


OTHERS = {
    "neck": (neck, Reason.NOT_A_HEAD),
    "chest": (chest, Reason.NOT_A_HEAD),
    "air": (air, Reason.IMPLAUSIBLE_HU),
    "water": (water, Reason.QUALITY_CONTROL_OBJECT),
    "water in plaster": (water_in_plaster, Reason.QUALITY_CONTROL_OBJECT),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_head_is_left_for_one_that_is(case: str, head: list[Path], tmp_path: Path) -> None:
    """By its headers the other series is the better one."""
    paint, reason = OTHERS[case]
    sharp = another_series(head, tmp_path / "head", ConvolutionKernel="BONE")
    other = another_series(head, tmp_path / "other", paint=paint, ConvolutionKernel="STANDARD")
    chosen, choice = choose([*other, *sharp])
    assert chosen is not None
    assert chosen.candidate.stack.series_instance_uid == uid(sharp)
    assert Remark.SHARP_KERNEL in {note.remark for note in chosen.scan.notes}
    assert reasons(choice) == [None, reason]


def test_a_whole_head_with_a_bone_kernel_is_better_than_a_soft_part_of_one(head: list[Path], tmp_path: Path) -> None:
    """The part is as long as a head by its header."""
    part = another_series(head[14:25], tmp_path / "part", ConvolutionKernel="STANDARD")
    for number, path in enumerate(part):
        image = pydicom.dcmread(path)
        image.ImagePositionPatient = [*image.ImagePositionPatient[:2], 12.0 * number]
        image.save_as(path)
    whole = another_series(head, tmp_path / "whole", ConvolutionKernel="BONE")
    chosen, choice = choose([*part, *whole])
    assert chosen is not None
    assert chosen.candidate.stack.series_instance_uid == uid(whole)
    part_line = choice.ranking[1]
    assert part_line.refusal is not None
    assert part_line.refusal.reason is Reason.RANKED_LOWER
    assert "base" not in part_line.score.criteria[0].value
    assert "by whole_head" in part_line.refusal.detail


def test_no_more_is_decoded_than_the_choice_needs(head: list[Path], tmp_path: Path) -> None:
    """The series that ranks lower could not be looked at: its files are gone."""
    lower = another_series(head, tmp_path / "lower", ConvolutionKernel="BONE")
    gathered = gather([*head, *lower])
    for path in lower:
        path.unlink()
    (study,) = group(gathered.facts)
    choice = Choice(unfold(study, gathered.files), gathered.files, POLICY.selection, head_only=True)
    assert choice.settle() is not None
    assert reasons(choice) == [None, Reason.RANKED_LOWER]


@pytest.mark.parametrize(("second_paint", "read"), [(None, 2), (air, 1)])
def test_of_two_acquisitions_the_later_is_read_unless_its_pixels_are_no_head(
    second_paint: Callable[[Image], Image] | None, read: int, head: list[Path], tmp_path: Path
) -> None:
    first = another_series(head, tmp_path / "first", AcquisitionNumber=1, AcquisitionTime="101500")
    second = another_series(
        head, tmp_path / "second", paint=second_paint, AcquisitionNumber=2, AcquisitionTime="101900"
    )
    chosen, choice = choose(one_series(first, tmp_path / "both", second))
    assert chosen is not None
    assert {i.acquisition_number for i in chosen.candidate.stack.instances} == {read}
    assert len(chosen.scan.hu_SHW) == 28
    assert [note.detail for note in chosen.scan.notes if note.remark is Remark.ACQUISITION_LEFT_OUT] == [
        f"acquisition {read} of 2 was read, 28 images were not read"
    ]
    assert len(choice.ranking) == 2


def test_predict_reads_the_stack_that_the_daemon_reads(head: list[Path], reader: Reader, tmp_path: Path) -> None:
    """By headers the later acquisition is the better one; its pixels are air."""
    second = another_series(head, tmp_path / "second", paint=air, AcquisitionNumber=2)
    both = one_series(another_series(head, tmp_path / "first", AcquisitionNumber=1), tmp_path / "both", second)
    (record,) = predict(gather(both), reader, POLICY)
    assert record["daemon_would_read"]
    assert [(line["stack"], line["read"]) for line in record["series_ranking"]] == [(1, True), (2, False)]


def test_scouts_among_the_slices_do_not_keep_them_from_being_read(head: list[Path], tmp_path: Path) -> None:
    scout = another_series(
        head[:2],
        tmp_path / "scout",
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
    )
    chosen, choice = choose(one_series(head, tmp_path / "mixed", scout))
    assert chosen is not None
    assert len(chosen.scan.hu_SHW) == 28
    assert reasons(choice) == [None, Reason.LOCALIZER]


@pytest.mark.parametrize("sop_class_uid", MULTI_FRAME_CT)
def test_an_enhanced_head_is_chosen_like_its_slices(head: list[Path], tmp_path: Path, sop_class_uid: str) -> None:
    path = tmp_path / "enhanced.dcm"
    enhanced(head, sop_class_uid=sop_class_uid).save_as(path)
    chosen, _ = choose([path])
    plain, _ = choose(head)
    assert chosen is not None
    assert plain is not None
    np.testing.assert_array_equal(chosen.scan.hu_SHW, plain.scan.hu_SHW)
    assert chosen.candidate.score == plain.candidate.score
    assert [source.frame_number for (source,) in chosen.scan.sources] == list(range(1, 29))


def test_an_enhanced_head_that_lost_its_groups_says_so(head: list[Path], tmp_path: Path) -> None:
    image = enhanced(head)
    del image.PerFrameFunctionalGroupsSequence
    image.save_as(tmp_path / "damaged.dcm")
    chosen, choice = choose([tmp_path / "damaged.dcm"])
    assert chosen is None
    (line,) = choice.ranking
    assert line.refusal is not None
    assert line.refusal.reason is Reason.MULTI_FRAME
    assert "28 frames" in line.refusal.detail


def test_predict_reads_both_and_says_which_one_the_daemon_reads(
    head: list[Path], reader: Reader, tmp_path: Path
) -> None:
    lower = another_series(head, tmp_path / "lower", ConvolutionKernel="BONE")
    phantom = another_series(head, tmp_path / "phantom", ConvolutionKernel="BONE", paint=water_in_plaster)
    records = {r["series_uid"]: r for r in predict(gather([*head, *lower, *phantom]), reader, POLICY)}
    assert {u: r["daemon_would_read"] for u, r in records.items()} == {
        uid(head): True,
        uid(lower): False,
        uid(phantom): False,
    }
    assert records[uid(lower)]["daemon_would_skip"]["reason"] == "ranked_lower"
    assert records[uid(phantom)]["daemon_would_skip"]["reason"] == "quality_control_object"
    assert records[uid(phantom)]["triage"] == "indeterminate"
    for record in records.values():
        assert [(line["rank"], line["read"]) for line in record["series_ranking"]] == [
            (1, True),
            (2, False),
            (3, False),
        ]
        best = record["series_ranking"][0]
        assert best["score"] == pytest.approx(sum(c["points"] for c in best["criteria"].values()), abs=0.01)


@needs_data
def test_the_real_head_is_read_and_the_plastic_one_is_not() -> None:
    data = Path(os.environ["ICHD_TEST_DATA"])
    chosen, choice = choose([data / "head-ct-ge"])
    assert chosen is not None
    assert len(chosen.candidate.stack.instances) == 28
    assert chosen.candidate.evidence is not None
    assert chosen.candidate.evidence.whole

    chosen, choice = choose([data / "head-phantom-philips"])
    assert chosen is None
    assert {line.refusal and line.refusal.reason for line in choice.ranking} == {
        Reason.NOT_A_HEAD,
        Reason.LOCALIZER,
        Reason.DERIVED_SECONDARY,
    }


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_perfusion_map_that_pydicom_brings_is_none_to_read() -> None:
    spec = importlib.util.find_spec("data_store")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("pydicom-data is not installed")
    chosen, choice = choose([Path(next(iter(spec.submodule_search_locations))) / "data" / "eCT_Supplemental.dcm"])
    assert chosen is None
    assert reasons(choice) == [Reason.PERFUSION]
