"""What the looks at input quality find in spoiled heads, and that they find nothing in others."""

from collections.abc import Callable
from dataclasses import replace
from time import process_time

import numpy as np
import pytest
from numpy.typing import NDArray

from ichd.domain.errors import NotAnalysable
from ichd.domain.note import Remark
from ichd.domain.reason import Reason
from ichd.phantom.anatomy import draw_subject
from ichd.phantom.recipe import PhantomRecipe
from ichd.vision.headness import require_head
from ichd.vision.quality import Inspection, inspect, require_hounsfield
from ichd.vision.quality.extent import extent_of
from ichd.vision.quality.field import cut_off
from ichd.vision.quality.sections import Sections, directions_with, places, sections_of
from ichd.vision.scan import HeadScan, SliceSource, load_scan

from .spoiled import (
    any_head,
    between,
    clipped,
    face_down,
    head,
    moved_within,
    rescaled,
    ruined,
    stepped,
    vertex_down,
    with_metal,
    with_slices,
    without_bone,
)
from .test_real_images import data, needs_data, pydicom_data

#: Other seeds than those that the thresholds were chosen with; every bleed and every harmless mimic is among them.
#: 214 has a head rest all around, which once passed for a ruined skull.
SEEDS = (*range(1, 21), 214)
#: A phantom's scan may end below its head's top, and then says so, rightly.
_ENDS = {Remark.VERTEX_MISSING, Remark.BASE_MISSING}


def remarks(scan: HeadScan) -> list[Remark]:
    return [note.remark for note in inspect(scan).notes]


def detail_of(inspection: Inspection, remark: Remark) -> str:
    (note,) = (note for note in inspection.notes if note.remark is remark)
    return note.detail


@pytest.mark.parametrize("seed", SEEDS)
def test_clean_heads_have_no_remark(seed: int) -> None:
    scan = any_head(seed)
    require_hounsfield(scan)
    inspection = inspect(scan)
    assert inspection.refusal is None
    assert {note.remark for note in inspection.notes} <= _ENDS


@needs_data
def test_the_real_head_has_no_remark() -> None:
    scan = load_scan([SliceSource(path=path) for path in data("head-ct-ge").glob("*.dcm")])
    require_hounsfield(scan)
    assert inspect(scan) == Inspection(notes=(), refusal=None)


def test_a_neonate_is_no_incomplete_head() -> None:
    scan = head(5, age=0.01)
    require_hounsfield(scan)
    assert inspect(scan).refusal is None


def test_the_real_slice_alone_is_in_hounsfield_units_and_no_whole_head() -> None:
    scan = load_scan([SliceSource(path=pydicom_data("693_UNCR.dcm"))])
    require_hounsfield(scan)
    refusal = inspect(scan).refusal
    assert refusal is not None
    assert refusal[0] is Reason.HEAD_INCOMPLETE


class TestMotion:
    @pytest.mark.parametrize("seed", range(1, 7))
    def test_a_jerk_within_a_slice(self, seed: int) -> None:
        inspection = inspect(moved_within(any_head(seed), [14], (1.5, 4.0)))
        at = f"{any_head(seed).z_mm[14]:.0f} mm"
        assert detail_of(inspection, Remark.MOTION) == f"doubled outline and streaks at {at}"

    @pytest.mark.parametrize("seed", range(1, 7))
    def test_a_step_between_slices(self, seed: int) -> None:
        detail = detail_of(inspect(stepped(any_head(seed), 16, 3)), Remark.MOTION)
        assert detail.startswith("a step of up to ")
        assert detail.endswith(f"below the slices at {any_head(seed).z_mm[16]:.0f} mm")

    @needs_data
    def test_a_jerk_and_a_step_in_the_real_head(self) -> None:
        real = load_scan([SliceSource(path=path) for path in data("head-ct-ge").glob("*.dcm")])
        small = replace(real, hu_SHW=real.hu_SHW[:, ::2, ::2], pixel_spacing_mm=(0.9765624, 0.9765624))
        detail = detail_of(inspect(stepped(moved_within(small, [15], (1.5, 4.0)), 20, 5)), Remark.MOTION)
        jerk_mm, step_mm = real.z_mm[15], real.z_mm[20]
        assert detail.startswith(
            f"doubled outline and streaks at {jerk_mm:.0f} mm; a step of up to 5 mm below the slices at "
        )
        assert detail.endswith(f" {step_mm:.0f} mm")


@pytest.mark.parametrize("seed", range(1, 7))
def test_metal_in_the_brain(seed: int) -> None:
    first, last = any_head(seed).z_mm[13:15]
    detail = detail_of(inspect(with_metal(any_head(seed), 13)), Remark.METAL)
    assert detail.startswith(f"at {first:.0f} to {last:.0f} mm, up to ")


def test_metal_below_the_brain_is_a_matter_of_dentists() -> None:
    scan = any_head(4)
    assert scan.z_mm[1] < -80, "two slices below the brain"
    assert Remark.METAL not in remarks(with_metal(scan, 0))


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_head_that_the_field_of_view_cuts(seed: int) -> None:
    assert Remark.FIELD_OF_VIEW_CLIPPED in remarks(clipped(any_head(seed), 10.0))


class TestExtent:
    @pytest.mark.parametrize("seed", range(1, 13))
    def test_what_is_missing_above_is_estimated_to_eight_millimetres(self, seed: int) -> None:
        scan = between(any_head(seed), -200.0, 45.0)
        above_mm = extent_of(sections_of(scan)).above_mm
        assert above_mm == pytest.approx(draw_subject(PhantomRecipe(seed=seed)).up - scan.z_mm[-1], abs=8.0)
        assert Remark.VERTEX_MISSING in remarks(scan)

    @pytest.mark.parametrize("seed", range(1, 13))
    def test_a_missing_base(self, seed: int) -> None:
        assert Remark.BASE_MISSING in remarks(between(any_head(seed), -25.0, 200.0))

    @pytest.mark.parametrize("seed", range(1, 7))
    def test_a_stack_through_the_face(self, seed: int) -> None:
        refusal = inspect(between(any_head(seed), -200.0, -25.0)).refusal
        assert refusal is not None
        assert refusal[0] is Reason.HEAD_INCOMPLETE


class TestCraniectomy:
    """A third of the skull is gone, and more: the patient was operated on for blood, and is read."""

    @pytest.mark.parametrize("seed", [1, 3, 7, 9])
    @pytest.mark.parametrize("towards", [0.0, -90.0], ids=["lateral", "frontal"])
    @pytest.mark.parametrize("degrees", [120.0, 150.0])
    def test_of_a_phantom(self, seed: int, towards: float, degrees: float) -> None:
        whole, opened = any_head(seed), without_bone(any_head(seed), degrees, towards, (-10.0, 70.0))
        inspection = inspect(opened)
        assert inspection == inspect(whole)
        assert extent_of(sections_of(opened)).brain_mm == pytest.approx(
            extent_of(sections_of(whole)).brain_mm, abs=15.0
        )

    @needs_data
    @pytest.mark.parametrize("towards", [0.0, -90.0], ids=["lateral", "frontal"])
    def test_of_the_real_head(self, towards: float) -> None:
        real = load_scan([SliceSource(path=path) for path in data("head-ct-ge").glob("*.dcm")])
        small = replace(real, hu_SHW=real.hu_SHW[:, ::2, ::2], pixel_spacing_mm=(0.9765624, 0.9765624))
        opened = without_bone(small, 140.0, towards, (real.z_mm[6], real.z_mm[26]))
        assert inspect(opened) == Inspection(notes=(), refusal=None)


#: What went wrong with some slices: HU to HU.
SPOILS: dict[str, tuple[int, Callable[[NDArray[np.float32]], NDArray[np.float32]]]] = {
    "water": (3, np.zeros_like),
    "air": (3, lambda hu: np.full_like(hu, -1024)),
    "slope doubled": (1, lambda hu: hu * 2 + 1024),
    "intercept applied twice": (3, lambda hu: hu - 1000),
}


class TestSpoiledSlices:
    @pytest.mark.parametrize("seed", [2, 4, 10, 12, 18])
    @pytest.mark.parametrize(("count", "spoil"), SPOILS.values(), ids=SPOILS)
    def test_they_are_named_and_nothing_else_is(
        self, seed: int, count: int, spoil: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    ) -> None:
        scan = any_head(seed)
        first = int(np.searchsorted(scan.z_mm, 5.0))
        notes = inspect(with_slices(scan, range(first, first + count), spoil)).notes
        last = "" if count == 1 else f" to {scan.z_mm[first + count - 1]:.0f}"
        assert [str(note) for note in notes if note.remark not in _ENDS] == [
            f"{Remark.SLICES_SPOILED.meaning}: at {scan.z_mm[first]:.0f}{last} mm"
        ]

    @needs_data
    @pytest.mark.parametrize("blank", [range(2, 3), range(22, 25), range(24, 27), range(26, 27)], ids=str)
    def test_blank_slices_of_the_real_head_are_named_wherever_they_are(self, blank: range) -> None:
        real = load_scan([SliceSource(path=path) for path in data("head-ct-ge").glob("*.dcm")])
        inspection = inspect(with_slices(real, blank, lambda hu: np.full_like(hu, -1024)))
        assert inspection.refusal is None
        assert Remark.SLICES_SPOILED in [note.remark for note in inspection.notes]
        assert Remark.MOTION not in [note.remark for note in inspection.notes]

    @needs_data
    def test_the_last_slices_of_the_real_head_have_air_around_them_too(self) -> None:
        real = load_scan([SliceSource(path=path) for path in data("head-ct-ge").glob("*.dcm")])
        lifted = with_slices(real, range(24, 28), lambda hu: hu + 1000)
        assert Remark.SLICES_SPOILED in remarks(lifted)

    def test_many_are_no_scan(self) -> None:
        scan = any_head(2)
        bad = [index for index, z in enumerate(scan.z_mm) if -20 < z < 50][::2]
        refusal = inspect(with_slices(scan, bad, lambda hu: hu - 1000)).refusal
        assert refusal is not None
        assert refusal[0] is Reason.IMPLAUSIBLE_HU
        assert "slices through the brain" in refusal[1]


def test_what_has_another_scale_or_size_is_not_looked_at_further() -> None:
    scan = with_metal(any_head(2), 13)
    assert inspect(rescaled(scan, 2.0, 1024.0)).notes == ()
    huge = inspect(replace(scan, pixel_spacing_mm=(9.0, 9.0)))
    assert huge.notes == ()
    assert huge.refusal is not None
    assert huge.refusal[0] is Reason.NOT_A_HEAD


@pytest.mark.parametrize("seed", [2, 4])
@pytest.mark.parametrize(("low_mm", "reaches_base"), [(-200.0, True), (-15.0, False)])
def test_noise_of_a_sharp_kernel_hides_no_missing_base(seed: int, low_mm: float, reaches_base: bool) -> None:
    scan = between(any_head(seed), low_mm, 200.0)
    noise = np.random.default_rng(0).normal(0, 40, scan.hu_SHW.shape)
    noisy = replace(scan, hu_SHW=(scan.hu_SHW + noise).astype(np.int16))
    for seen in (scan, noisy):
        assert require_head(seen).reaches_base is reaches_base
        assert (Remark.BASE_MISSING not in remarks(seen)) is reaches_base


def test_a_cut_along_border_and_circle_is_one_cut() -> None:
    """The circle of an image touches its border four times; a body that fills it is cut once around."""
    rows, columns = np.mgrid[:128, :128]
    circle = (np.hypot(rows - 63.5, columns - 63.5) <= 64)[np.newaxis]
    hu_SHW = np.where(circle, np.float32(40), np.float32(-1024))
    full = Sections(
        hu_SHW=hu_SHW, steps_mm=(1.5, 1.5), z_mm=np.zeros(1), body_SHW=circle, cavity_SHW=circle, brain_SHW=circle
    )
    (note,) = cut_off(full)
    cut_mm = float(note.detail.split("up to ")[1].split(" mm")[0])
    assert cut_mm == pytest.approx(np.pi * 2 * 62 * 1.5, rel=0.08)


#: By name: slope and intercept that go over right HU.
SCALES = {
    "intercept left out": (1.0, 1024.0),
    "intercept applied twice": (1.0, -1024.0),
    "slope doubled": (2.0, 1024.0),
    "slope halved": (0.5, -512.0),
    "a picture of grey levels": (0.1, 100.0),
    "inverted": (-1.0, 0.0),
    "flat": (0.0, 0.0),
}


@pytest.mark.parametrize(("slope", "intercept"), SCALES.values(), ids=SCALES)
def test_another_scale_is_refused(slope: float, intercept: float) -> None:
    with pytest.raises(NotAnalysable, match=r"air lies at -?\d+ HU") as caught:
        require_hounsfield(rescaled(any_head(2), slope, intercept))
    assert caught.value.reason is Reason.IMPLAUSIBLE_HU


@pytest.mark.parametrize("seed", range(1, 13))
@pytest.mark.parametrize(
    ("turn", "seems"), [(face_down, "look backward"), (vertex_down, "vertex")], ids=["face down", "vertex down"]
)
def test_a_head_that_lies_otherwise_is_doubted(seed: int, turn: Callable[[HeadScan], HeadScan], seems: str) -> None:
    assert seems in detail_of(inspect(turn(any_head(seed))), Remark.ORIENTATION_DOUBTFUL)


def test_a_ruined_scan_is_refused() -> None:
    inspection = inspect(ruined(any_head(2)))
    with pytest.raises(NotAnalysable, match=r"nothing of the brain can be seen in \d+ of \d+ slices") as caught:
        inspection.require()
    assert caught.value.reason is Reason.ARTEFACTS


def test_one_ruined_slice_is_not_the_scan() -> None:
    scan = any_head(2)
    hu_SHW = scan.hu_SHW.copy()
    hu_SHW[13] = ruined(scan).hu_SHW[13]
    assert inspect(scan).refusal is None


@pytest.mark.parametrize("spacing_mm", [1e-4, 50.0])
@pytest.mark.parametrize("size", [16, 17])
def test_a_spacing_of_no_head_breaks_nothing(size: int, spacing_mm: float) -> None:
    scan = any_head(2)
    odd = replace(scan, hu_SHW=scan.hu_SHW[:, 60 : 60 + size, 60 : 60 + size], pixel_spacing_mm=(spacing_mm,) * 2)
    refusal = inspect(odd).refusal
    assert refusal is not None
    with pytest.raises(NotAnalysable):
        require_hounsfield(odd)


def test_directions() -> None:
    seen = np.zeros((1, 5, 5), dtype=np.bool_)
    seen[0, 0, 2] = seen[0, 2, 4] = seen[0, 4, 4] = True
    assert directions_with(seen)[0, 2, 2] == 3
    assert directions_with(seen)[0, 0, 0] == 2


def test_places() -> None:
    marked = np.array([0, 0, 1, 1, 1, 0, 1], dtype=np.bool_)
    assert places(marked, np.linspace(-20.0, 10.0, 7)) == "at -10 to 0 mm, 10 mm"
    assert places(np.array([1, 0], dtype=np.bool_), np.array([7.4, 12.0])) == "at 7 mm"


def test_looking_costs_little() -> None:
    """36 slices of 480x480: 0.06 s where it was measured."""
    small = any_head(3)
    times = np.linspace(0, len(small.z_mm) - 1, 36).round().astype(int)
    fine = replace(
        small,
        hu_SHW=small.hu_SHW[times].repeat(3, axis=1).repeat(3, axis=2),
        z_mm=tuple(np.linspace(small.z_mm[0], small.z_mm[-1], 36).tolist()),
        pixel_spacing_mm=(small.pixel_spacing_mm[0] / 3, small.pixel_spacing_mm[1] / 3),
    )
    started = process_time()
    require_hounsfield(fine)
    inspect(fine)
    assert process_time() - started < 0.3
