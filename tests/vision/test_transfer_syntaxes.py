"""How compressed pixels may lie in a file: in fragments, with and without an offset table, in odd lengths."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID

from ichd.domain.errors import NotAnalysable
from ichd.domain.reason import Reason
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.vision.pixels import read_pixels
from ichd.vision.slices import read_header
from tests.vision.images import Image, ramp
from tests.vision.transcoding import encapsulated, htj2k, transcode

#: One of each family of decoders.
COMPRESSED = (
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = PhantomRecipe(seed=5, slices=3, rows=128, voxel_mm=2.0, bleeds=("subdural",))
    return write_series(render(recipe), tmp_path_factory.mktemp("phantom"))[1]


def frame_of(path: Path) -> bytes:
    return next(generate_frames(dcmread(path).PixelData, number_of_frames=1))


@pytest.mark.parametrize(
    "options", [{"has_bot": False}, {"fragments_per_frame": 3}, {"fragments_per_frame": 3, "has_bot": False}]
)
@pytest.mark.parametrize(
    "transfer_syntax_uid", [uid for uid in COMPRESSED if uid != "1.2.840.10008.1.2.5"], ids=lambda uid: UID(uid).name
)
def test_a_frame_in_fragments_is_the_same_frame(
    original: Path, tmp_path: Path, transfer_syntax_uid: str, options: dict[str, Any]
) -> None:
    """RLE is left out: its frame is one fragment (PS3.5 A.4.2)."""
    path = transcode(original, tmp_path, transfer_syntax_uid)
    image = dcmread(path)
    image.PixelData = encapsulate([frame_of(path)], **options)
    image["PixelData"].is_undefined_length = True
    image.save_as(path)
    assert np.array_equal(read_pixels(read_header(path)).hu_HW, read_pixels(read_header(original)).hu_HW)


def test_high_throughput_jpeg_2000_in_fragments_without_an_offset_table(original: Path, tmp_path: Path) -> None:
    path = tmp_path / "fragments.dcm"
    frame = htj2k(original, "-reversible", "true")
    encapsulated(original, path, "1.2.840.10008.1.2.4.201", frame, fragments_per_frame=4, has_bot=False)
    assert np.array_equal(read_pixels(read_header(path)).hu_HW, read_pixels(read_header(original)).hu_HW)


@pytest.mark.parametrize("transfer_syntax_uid", COMPRESSED, ids=lambda uid: UID(uid).name)
def test_half_a_frame_is_no_image(original: Path, tmp_path: Path, transfer_syntax_uid: str) -> None:
    path = transcode(original, tmp_path, transfer_syntax_uid)
    frame = frame_of(path)
    image = dcmread(path)
    image.PixelData = encapsulate([frame[: len(frame) // 4 * 2]])
    image["PixelData"].is_undefined_length = True
    image.save_as(path)
    with pytest.raises(NotAnalysable) as caught:
        read_pixels(read_header(path))
    assert caught.value.reason is Reason.PIXELS_UNREADABLE


def test_big_endian_words_keep_the_bits_that_are_not_stored(tmp_path: Path) -> None:
    """Twelve bits in a word of sixteen, an overlay above them: the byte order turns both."""
    stored = (ramp(20, 24) | np.int16(0x3000)).astype(np.uint16)
    little = Image(stored=stored, bits_stored=12, slope=1.0, intercept=-1024.0).write(tmp_path / "little.dcm")
    big = transcode(little, tmp_path, "1.2.840.10008.1.2.2")
    assert np.array_equal(read_pixels(read_header(big)).hu_HW, read_pixels(read_header(little)).hu_HW)
    assert read_pixels(read_header(big)).hu_HW.ravel()[:3].tolist() == [-1024, -1023, -1022]


def test_frames_without_functional_groups_are_not_read_in_any_syntax(original: Path, tmp_path: Path) -> None:
    image = dcmread(original)
    image.NumberOfFrames = 2
    image.PixelData = image.PixelData * 2
    path = tmp_path / "enhanced.dcm"
    image.save_as(path)
    for syntax in ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"):
        with pytest.raises(NotAnalysable) as caught:
            read_header(transcode(path, tmp_path, syntax))
        assert caught.value.reason is Reason.MULTI_FRAME


@pytest.mark.skipif("ICHD_TEST_DATA" not in os.environ, reason="ICHD_TEST_DATA is not set")
def test_a_real_enhanced_ct_is_no_slice() -> None:
    (path,) = Path(os.environ["ICHD_TEST_DATA"], "transfer-syntaxes").glob("CT0012*")
    with pytest.raises(NotAnalysable) as caught:
        read_header(path)
    assert caught.value.reason is Reason.MULTI_FRAME
