"""A file whose bytes are not those that were received is never read, wherever the damage lies."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichd.domain.errors import NotAnalysable
from ichd.domain.image_file import ImageFile
from ichd.domain.reason import Reason
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.vision.frames import frame_facts
from ichd.vision.pixels import read_pixels
from ichd.vision.scan import SliceSource, load_scan
from ichd.vision.slices import read_header, read_headers
from tests.store.house import image as facts_of_image
from tests.vision.enhanced import enhanced


def vouched(path: Path) -> ImageFile:
    """The file as it is now, with its checksum."""
    return ImageFile(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> list[ImageFile]:
    recipe = PhantomRecipe(seed=5, slices=6, rows=32, voxel_mm=4.0, bleeds=())
    return [vouched(path) for path in write_series(render(recipe), tmp_path_factory.mktemp("head"))]


@settings(max_examples=150)
@given(data=st.data())
def test_a_flipped_bit_of_any_file_is_found_wherever_it_is(head: list[ImageFile], data: st.DataObject) -> None:
    victim = data.draw(st.sampled_from(head))
    bit = data.draw(st.integers(0, 8 * victim.path.stat().st_size - 1))
    flip(victim.path, bit)
    try:
        with pytest.raises(NotAnalysable) as caught:
            load_scan([SliceSource(path=each) for each in head])
    finally:
        flip(victim.path, bit)
    assert caught.value.reason is Reason.FILE_DAMAGED
    assert victim.path.name in caught.value.detail


def test_whole_files_give_the_same_scan_with_and_without_their_checksums(head: list[ImageFile]) -> None:
    checked = load_scan([SliceSource(path=each) for each in head])
    unchecked = load_scan([SliceSource(path=each.path) for each in head])
    assert np.array_equal(checked.hu_SHW, unchecked.hu_SHW)


def test_damage_between_the_header_and_the_pixels_is_found(head: list[ImageFile]) -> None:
    header = read_header(head[0])
    last = 8 * head[0].path.stat().st_size - 1
    flip(head[0].path, last)
    try:
        with pytest.raises(NotAnalysable) as caught:
            read_pixels(header)
    finally:
        flip(head[0].path, last)
    assert caught.value.reason is Reason.FILE_DAMAGED


def test_a_file_that_is_longer_or_shorter_than_it_was_is_damaged(head: list[ImageFile]) -> None:
    whole = head[0].path.read_bytes()
    for other in (whole + b"\0", whole[:-1], b""):
        head[0].path.write_bytes(other)
        with pytest.raises(NotAnalysable) as caught:
            read_header(head[0])
        assert caught.value.reason is Reason.FILE_DAMAGED
    head[0].path.write_bytes(whole)


def test_of_an_image_of_many_frames_the_bytes_that_were_checked_are_decoded(
    head: list[ImageFile], tmp_path: Path
) -> None:
    path = tmp_path / "frames.dcm"
    enhanced([file.path for file in head[:5]]).save_as(path, enforce_file_format=True)
    file = vouched(path)
    expected = [read_pixels(each).hu_HW for each in read_headers(path, (1, 2, 3, 4, 5))]
    headers = read_headers(file, (1, 2, 3, 4, 5))
    flip(path, 8 * path.stat().st_size - 9)
    assert all(np.array_equal(read_pixels(h).hu_HW, hu_HW) for h, hu_HW in zip(headers, expected, strict=True))
    for read in (lambda: read_headers(file, (1,)), lambda: frame_facts(file, facts_of_image(1))):
        with pytest.raises(NotAnalysable) as caught:
            read()
        assert caught.value.reason is Reason.FILE_DAMAGED
