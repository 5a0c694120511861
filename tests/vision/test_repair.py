"""The twelve-bit repair: which images it touches, and what it makes of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.vision.repair import repaired
from ichd.vision.slices import SliceHeader, read_header

from .images import Image


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> SliceHeader:
    """Of an image that lost its sign: unsigned, twelve bits, intercept 0."""
    pixels = np.zeros((16, 16), dtype=np.uint16)
    return read_header(Image(stored=pixels, bits_stored=12).write(tmp_path_factory.mktemp("repair") / "a.dcm"))


def hu_of(stored: list[int], header: SliceHeader) -> list[float] | None:
    mended = repaired(np.array([stored], dtype=np.int32), header)
    return None if mended is None else [float(v) for v in (mended[0] * header.slope + mended[1])[0]]


@given(hu=st.lists(st.integers(-1000, 3095), min_size=1, max_size=30))
def test_what_lost_its_sign_gets_it_back(header: SliceHeader, hu: list[int]) -> None:
    assert hu_of([-1000 & 0xFFF, *(value & 0xFFF for value in hu)], header) == [-1000.0, *hu]


def test_the_intercept_of_the_header_is_replaced(header: SliceHeader) -> None:
    assert hu_of([3096, 40], replace(header, intercept=-24.0)) == [-1000.0, 40.0]


@pytest.mark.parametrize(
    "believed",
    [
        {"intercept": -1024.0},
        {"intercept": -100.0},
        {"bits_stored": 16},
        {"signed": True},
        {"slope": -1.0, "intercept": 1000.0},
        {"slope": 2.0},
    ],
    ids=str,
)
def test_other_headers_are_believed(header: SliceHeader, believed: dict[str, Any]) -> None:
    assert hu_of([3096, 40], replace(header, **believed)) is None


def test_an_image_in_which_nothing_wraps_is_believed(header: SliceHeader) -> None:
    assert hu_of([0, 40, 3095], header) is None


def test_the_values_given_are_left_alone(header: SliceHeader) -> None:
    stored = np.array([[3096, 40]], dtype=np.int32)
    repaired(stored, header)
    assert stored.tolist() == [[3096, 40]]
