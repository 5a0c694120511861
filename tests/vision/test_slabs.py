"""Thin slices become slabs of about 5 mm that bridge no hole, and nothing else is averaged."""

import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from ichd.domain.errors import NotAnalysable
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.vision.bundle import demo_bundle, load_bundle
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan
from ichd.vision.slabs import slabs_of
from tests.vision.images import Image, load_files, ramp


def evenly(count: int, step_mm: float) -> list[float]:
    return [index * step_mm for index in range(count)]


def sizes(z_mm: list[float], thickness_mm: float | None = None) -> list[int]:
    return [len(slab) for slab in slabs_of(z_mm, thickness_mm)]


@pytest.mark.parametrize(
    ("count", "step_mm", "thickness_mm", "expected"),
    [
        (20, 1.0, 1.0, [5] * 4),
        (320, 0.5, 0.5, [10] * 32),
        (40, 0.625, 0.625, [8] * 5),
        (12, 1.5, None, [3, 3, 3, 3]),
        (20, 0.5, 1.0, [10] * 2),  # thin slices that overlap are still thin
        (20, 2.5, 2.5, [1] * 20),
        (20, 2.0, 2.0, [1] * 20),
        (20, 5.0, 1.0, [1] * 20),  # thin slices far apart: there is nothing to average
        (20, 1.0, 5.0, [1] * 20),  # thick slices that overlap
        (8, 1.0, 1.0, [4, 4]),  # no rest of three at an end
        (11, 1.0, 1.0, [5, 6]),
        (7, 1.0, 1.0, [7]),
        (2, 1.0, 1.0, [2]),
        (1, 1.0, 1.0, [1]),
    ],
)
def test_even_spacing(count: int, step_mm: float, thickness_mm: float | None, expected: list[int]) -> None:
    assert sizes(evenly(count, step_mm), thickness_mm) == expected


@pytest.mark.parametrize(
    ("z_mm", "expected"),
    [
        ([*evenly(10, 1.0), *(z + 13.0 for z in evenly(10, 1.0))], [5, 5, 5, 5]),  # three missing
        ([*evenly(10, 1.0), *(z + 11.0 for z in evenly(10, 1.0))], [5, 5, 5, 5]),  # one missing
        ([*evenly(7, 1.0), *(z + 9.0 for z in evenly(10, 1.0))], [7, 5, 5]),
        (
            [*evenly(20, 1.0), *(z + 24.0 for z in evenly(5, 5.0))],
            [5, 5, 5, 5, 1, 1, 1, 1, 1],
        ),  # thin base, thick vault
        ([*evenly(20, 0.5), *(z + 10.5 for z in evenly(10, 1.0))], [10, 10, 5, 5]),
    ],
)
def test_holes_and_changes(z_mm: list[float], expected: list[int]) -> None:
    assert sizes(z_mm, 1.0) == expected


@given(steps=st.lists(st.floats(0.3, 8.0), max_size=80), thickness_mm=st.sampled_from([None, 0.6, 1.0, 5.0]))
def test_any_stack(steps: list[float], thickness_mm: float | None) -> None:
    z_mm = [float(z) for z in np.cumsum([0.0, *steps])]
    slabs = slabs_of(z_mm, thickness_mm)
    assert [index for slab in slabs for index in slab] == list(range(len(z_mm))), "each slice once, in order"
    for slab in slabs:
        inside = [above - below for below, above in pairwise(z_mm[index] for index in slab)]
        assert all(step <= 2.5 for step in inside), "a slab bridges no hole"
        assert sum(inside) <= 7.5


def thin(folder: Path, count: int, step_mm: float, **changes: object) -> HeadScan:
    """Slice k is k HU all over."""
    images = [
        Image(
            stored=np.full((16, 16), index, dtype=np.int16),
            position=(0.0, 0.0, index * step_mm),
            sop_instance_uid=f"1.2.{index + 1}",
            instance_number=count - index,
            thickness_mm=step_mm,
            **changes,  # type: ignore[arg-type]
        )
        for index in range(count)
    ]
    return load_files(image.write(folder / f"{index}.dcm") for index, image in enumerate(images))


def test_a_slab_is_the_mean_of_its_slices_and_names_each(tmp_path: Path) -> None:
    scan = thin(tmp_path, 20, 1.0)
    assert scan.hu_SHW.dtype == np.int16
    assert scan.hu_SHW[:, 0, 0].tolist() == [2, 7, 12, 17]
    assert scan.z_mm == (2.0, 7.0, 12.0, 17.0)
    assert [[s.sop_instance_uid for s in members] for members in scan.sources] == [
        [f"1.2.{index + 1}" for index in range(start, start + 5)] for start in (0, 5, 10, 15)
    ]
    assert [s.z_mm for s in scan.sources[1]] == [5.0, 6.0, 7.0, 8.0, 9.0]
    assert scan.notes == (
        Note(remark=Remark.THIN_SLICES_AVERAGED, detail="20 slices every 1 mm to 4, 5 in each"),
    )  # fmt: skip


def test_fractions_of_hu_are_averaged_as_such(tmp_path: Path) -> None:
    scan = thin(tmp_path, 8, 1.0, slope=0.5, intercept=0.25)
    assert scan.hu_SHW.dtype == np.float32
    assert scan.hu_SHW[:, 0, 0].tolist() == [1.0, 3.0]


def test_a_slab_is_turned_like_its_slices(tmp_path: Path) -> None:
    images = [
        Image(stored=ramp(20, 24, index), position=(0, 0, index), orientation=(-1, 0, 0, 0, -1, 0))
        for index in range(5)
    ]
    scan = load_files(image.write(tmp_path / f"{index}.dcm") for index, image in enumerate(images))
    assert np.array_equal(scan.hu_SHW[0], ramp(20, 24, 2)[::-1, ::-1])


def test_a_prediction_has_every_thin_slice_with_its_slabs_probabilities(tmp_path: Path) -> None:
    phantom = render(PhantomRecipe(seed=2001, slices=100, rows=64, voxel_mm=4.0, bleeds=("subdural",)))
    paths = write_series(phantom, tmp_path)
    scan = load_files(paths)
    assert 20 <= len(scan.hu_SHW) <= 40
    prediction = Reader(EagerEngine(load_bundle(demo_bundle()), device="cpu")).read(scan)
    assert [s.sop_instance_uid for s in prediction.slices] == [str(dcmread(path).SOPInstanceUID) for path in paths]
    row = 0
    for members in scan.sources:
        of_slab = {s.probabilities for s in prediction.slices[row : row + len(members)]}
        assert len(of_slab) == 1
        row += len(members)
    assert max(s.probabilities[0] for s in prediction.slices) > 0.5


def test_a_thousand_thin_slices_are_read_and_no_more(tmp_path: Path) -> None:
    image = Image(stored=ramp(16, 16), position=(0, 0, 1000.5)).write(tmp_path / "image.dcm").read_bytes()
    paths = [tmp_path / f"{z}.dcm" for z in range(1001)]
    for z, path in enumerate(paths):
        path.write_bytes(image.replace(b"1000.5", f"{1000 + z / 2:.1f}".encode()))
    assert load_files(paths[:1000]).hu_SHW.shape == (100, 16, 16)
    with pytest.raises(NotAnalysable, match="1001 positions, at most 1000") as caught:
        load_files(paths)
    assert caught.value.reason is Reason.TOO_MANY_SLICES


def test_the_thin_stack_never_lies_in_memory(tmp_path: Path) -> None:
    """160 slices of 128x128 are 5.2 MB; their slabs half a megabyte, and one slice in int32 and float32 a bit more."""
    images = [Image(stored=ramp(128, 128, 0), position=(0, 0, index / 2)) for index in range(160)]
    paths = [image.write(tmp_path / f"{index}.dcm") for index, image in enumerate(images)]
    load_files(paths[:3])  # what is imported at first use
    tracemalloc.start()
    scan = load_files(paths)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert scan.hu_SHW.shape == (16, 128, 128)
    assert peak < 2.6e6
