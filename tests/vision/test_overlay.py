"""Pictures of slices and heat: to scale, marked, and the same heat at every size."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ichd.domain.geometry import Orientation
from ichd.domain.heatmap import HeatMap
from ichd.vision.heatmap import spread
from ichd.vision.overlay import Caption, figure, mark_sides, overlay_picture, scale_picture, sides_of, slice_picture
from ichd.vision.window import BRAIN


def heat_map(rows: int = 96, columns: int = 128) -> HeatMap:
    """6 by 8 cells over the whole of an image, one of them hot."""
    cells = np.zeros((6, 8), dtype=np.uint8)
    cells[2, 5] = 255
    return HeatMap(
        sop_instance_uid="1.2",
        frame_number=None,
        class_name="any",
        cells=tuple(row.tobytes() for row in cells),
        first_cell=((rows / 6 - 1) / 2, (columns / 8 - 1) / 2),
        cell_pitch=(rows / 6, columns / 8),
        cell_mm=(8.0, 8.0),
        probability_alone=0.5,
    )


@pytest.mark.parametrize(
    ("orientation", "sides"),
    [
        ((1, 0, 0, 0, 1, 0), ("R", "L")),
        ((-1, 0, 0, 0, 1, 0), ("L", "R")),
        ((0, 1, 0, 1, 0, 0), ("A", "P")),
        ((0, -1, 0, -1, 0, 0), ("P", "A")),
        ((0.98, 0.0, 0.199, 0, 1, 0), ("R", "L")),
    ],
    ids=["as usual", "mirrored", "lying", "lying, mirrored", "tilted"],
)
def test_the_sides_of_the_patient_follow_the_rows(orientation: Orientation, sides: tuple[str, str]) -> None:
    assert sides_of(orientation) == sides


def test_marks_are_written_at_both_edges_and_nowhere_else() -> None:
    picture = Image.new("RGB", (200, 100))
    mark_sides(picture, ("R", "L"))
    marked = np.asarray(picture).max(axis=(0, 2))
    assert marked[:30].any()
    assert marked[-30:].any()
    assert not marked[40:-40].any()


@pytest.mark.parametrize("size", [(96, 128), (48, 64), (192, 256), (30, 40)])
def test_heat_is_the_same_at_every_size(size: tuple[int, int]) -> None:
    whole = spread(heat_map(), 96, 128)
    drawn = spread(heat_map(), 96, 128, drawn=size)
    scaled = np.asarray(Image.fromarray(whole).resize(size[::-1], Image.Resampling.BILINEAR))
    assert drawn.shape == size
    assert drawn.max() == 1
    assert np.abs(drawn - scaled).max() < 0.05


def test_slices_are_true_to_their_proportions() -> None:
    hu_HW = np.zeros((40, 40), dtype=np.int16)
    picture = slice_picture(hu_HW, (1.0, 0.5), BRAIN, 100)
    assert picture.size == (50, 100)
    assert picture.mode == "RGB"
    heat = replace(heat_map(40, 40), cell_pitch=(6.0, 5.0))
    assert overlay_picture(hu_HW, heat, (1.0, 0.5), 100).size == (50, 100)


def test_a_narrow_slice_does_not_cut_off_its_caption() -> None:
    caption = Caption(title="Any", subtitle="slice 1", footnotes=("a long sentence that says what must be known " * 2,))
    wide = figure(np.zeros((40, 40), dtype=np.int16), heat_map(40, 40), (1.0, 1.0), caption, side=400)
    narrow = figure(np.zeros((40, 40), dtype=np.int16), heat_map(40, 40), (4.0, 1.0), caption, side=400)
    assert narrow.width > 500
    last_line = np.asarray(narrow)[-30:].astype(int)
    written = np.ptp(last_line, axis=0).max(axis=-1)
    assert not written[-8:].any()
    assert written[: narrow.width - 40].any()
    assert wide.width >= narrow.width


def test_the_scale_grows_from_grey_to_the_hottest() -> None:
    scale = np.asarray(scale_picture(300)).astype(int)[5]
    assert scale[5].max() - scale[5].min() == 0, "no heat has no colour"
    assert scale[-5].sum() > scale[5].sum()
