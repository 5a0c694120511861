"""Positions along the slice normal, inferior first; ties, slabs, and what does not stack."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.vision.slabs import slabs_of
from training.cases.headers import HEADER_SCHEMA
from training.cases.order import ordered, spacing_facts

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def images_at(z_mm: list[float], *, study: str = "A", **changed: object) -> pl.DataFrame:
    rows = [
        dict.fromkeys(HEADER_SCHEMA)
        | {
            "path": f"/{study}/{n}",
            "image_id": f"{study}{n:03d}",
            "study_id": study,
            "rows": 64,
            "columns": 64,
            "row_spacing_mm": 0.5,
            "column_spacing_mm": 0.5,
            "pixel_position": (-100.0, -90.0, z),
            "orientation": AXIAL,
        }
        | changed
        for n, z in enumerate(z_mm)
    ]
    return pl.DataFrame(rows, schema=HEADER_SCHEMA, orient="row")


def in_order(images: pl.DataFrame, *, averaged: bool = False) -> pl.DataFrame:
    return ordered(images, averaged=averaged).filter(pl.col("left_out").is_null()).sort("study_id", "position")


@given(st.lists(st.integers(-2000, 2000), min_size=1, max_size=40), st.randoms())
def test_images_ascend_whatever_their_order_in_the_folder(tenths: list[int], random: object) -> None:
    images = images_at([n / 10 for n in tenths])
    found = in_order(images)
    assert found["z_mm"].to_list() == sorted(n / 10 for n in tenths)
    assert found["position"].to_list() == list(range(len(tenths)))
    mixed = list(range(len(tenths)))
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert in_order(images[mixed])["image_id"].to_list() == found["image_id"].to_list()


def test_in_one_place_the_identifier_decides() -> None:
    found = in_order(images_at([5.0, 0.0, 5.0, 5.0000001]))
    assert found["image_id"].to_list() == ["A001", "A000", "A002", "A003"]


@given(tilt=st.floats(-25, 25), turned=st.booleans())
def test_a_tilted_gantry_is_measured_along_the_normal(tilt: float, turned: bool) -> None:
    """Against the cross product; an image that is stored upside down ascends to the head as well."""
    cosine, sine = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
    column = np.array([0.0, cosine, sine]) * (-1 if turned else 1)
    row = np.array([1.0, 0.0, 0.0])
    normal = np.cross(row, column)
    normal *= np.sign(normal[2])
    images = images_at([0.0, 5.0, 10.0], orientation=(*row, *column))
    found = in_order(images)
    expected = [float(np.dot((-100.0, -90.0, z), normal)) for z in (0.0, 5.0, 10.0)]
    assert found["z_mm"].to_list() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"rows": 128}, "another size than its study's images: 128 x 64"),
        ({"row_spacing_mm": 0.6}, "another pixel spacing than its study's images"),
        ({"orientation": (1.0, 0.0, 0.0, 0.0, 0.96, 0.28)}, "not parallel to its study's images"),
    ],
)
def test_what_does_not_stack_on_the_others_is_left_out(changed: dict[str, object], reason: str) -> None:
    images = pl.concat(
        [images_at([0.0, 5.0, 10.0]), images_at([99.0], study="A", path="/odd", image_id="0", **changed)]
    )
    found = ordered(images, averaged=False)
    assert found.filter(pl.col("path") == "/odd")["left_out"].to_list() == [reason]
    assert len(in_order(images)) == 3


def test_sagittal_images_have_no_inferior_end() -> None:
    found = ordered(images_at([0.0, 5.0], orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0)), averaged=False)
    assert set(found["left_out"]) == {"not axial"}


def test_each_image_is_its_own_slab_unless_thin_ones_are_averaged() -> None:
    thin = images_at([0.625 * n for n in range(40)], thickness_mm=0.625)
    assert in_order(thin)["slab"].to_list() == list(range(40))
    averaged = in_order(pl.concat([thin, images_at([5.0 * n for n in range(4)], study="B")]), averaged=True)
    slabs = slabs_of([0.625 * n for n in range(40)], 0.625)
    expected = [number for number, slab in enumerate(slabs) for _ in slab]
    assert averaged.filter(pl.col("study_id") == "A")["slab"].to_list() == expected
    assert averaged.filter(pl.col("study_id") == "B")["slab"].to_list() == [0, 1, 2, 3]


def test_odd_spacing_is_counted() -> None:
    images = pl.concat(
        [
            images_at([0.0, 5.0, 10.0, 15.0], study="even"),
            images_at([0.0, 5.0, 10.2, 15.0], study="jitter"),
            images_at([0.0, 2.5, 5.0, 10.0, 15.0], study="uneven"),
            images_at([0.0, 5.0, 5.0, 10.0], study="twice"),
            images_at([0.0], study="single"),
        ]
    )
    facts = spacing_facts(in_order(images))
    assert facts["studies_with_uneven_spacing"] == 1
    assert facts["studies_with_duplicate_positions"] == 1
    assert facts["images_at_duplicate_positions"] == 1
    assert facts["studies_with_one_slice"] == 1
    assert facts["first_studies_with_one_slice"] == ["single"]
    assert facts["gap_mm_median"] == 5.0
