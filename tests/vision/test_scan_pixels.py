"""Stored values to HU: scales, padding, unused bits, and what is no HU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ichd.domain.errors import NotAnalysable, Transient
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.vision.pixels import read_pixels
from ichd.vision.slices import read_header

from .images import Image, load_files, ramp
from .loading import load, remarks, stored


def hu_of(tmp_path: Path, **image: Any) -> list[float]:
    """The first four HU of the first row."""
    return [float(v) for v in load(tmp_path, Image(**image)).hu_SHW[0, 0, :4]]


class TestHounsfieldUnits:
    def test_slope_and_intercept_are_each_slices_own(self, tmp_path: Path) -> None:
        scan = load(
            tmp_path,
            Image(stored=stored(100), slope=1.0, intercept=-24.0),
            Image(stored=stored(100), slope=2.0, intercept=-1024.0, position=(0, 0, 5)),
        )
        assert scan.hu_SHW.dtype == np.int16
        assert [int(v) for v in scan.hu_SHW[:, 0, 0]] == [76, -824]

    def test_fractions_of_hu_are_kept_in_float32(self, tmp_path: Path) -> None:
        scan = load(
            tmp_path,
            Image(stored=stored(101), slope=0.5, intercept=-10.25),
            Image(stored=stored(101), position=(0, 0, 5)),
        )
        assert scan.hu_SHW.dtype == np.float32
        assert [float(v) for v in scan.hu_SHW[:, 0, 0]] == [40.25, 101.0]

    def test_unsigned_pixels_beyond_int16(self, tmp_path: Path) -> None:
        assert hu_of(tmp_path, stored=stored(0, 1064, 33000, 65535, dtype=np.uint16), intercept=-1024.0) == [
            -1024, 40, 31976, 32767,
        ]  # fmt: skip

    def test_below_air_there_is_only_air(self, tmp_path: Path) -> None:
        assert hu_of(tmp_path, stored=stored(-3024, -1024, -5))[:3] == [-1024, -1024, -5]

    def test_bits_above_bits_stored_are_cut_unsigned(self, tmp_path: Path) -> None:
        pixels = stored(0x0428, 0xF428, 0x1428, dtype=np.uint16)
        assert hu_of(tmp_path, stored=pixels, bits_stored=12, intercept=-1024.0)[:3] == [40, 40, 40]

    def test_bits_above_bits_stored_are_cut_and_the_sign_extended(self, tmp_path: Path) -> None:
        pixels = stored(0x0FFB, 0x0028, 0x7028)  # -5 in twelve bits, 40, 40 under noise
        assert hu_of(tmp_path, stored=pixels, bits_stored=12)[:3] == [-5, 40, 40]

    def test_monochrome1_is_a_matter_of_display(self, tmp_path: Path) -> None:
        scan = load(tmp_path, Image(stored=stored(40, -1000), photometric="MONOCHROME1"))
        assert [int(v) for v in scan.hu_SHW[0, 0, :2]] == [40, -1000]
        assert remarks(scan) == [Remark.INVERTED_DISPLAY]

    def test_inverted_storage_with_a_negative_slope(self, tmp_path: Path) -> None:
        pixels = stored(2000, 960, dtype=np.uint16)
        assert hu_of(tmp_path, stored=pixels, photometric="MONOCHROME1", slope=-1.0, intercept=1000.0)[:2] == [
            -1000,
            40,
        ]

    def test_padding_becomes_air(self, tmp_path: Path) -> None:
        assert hu_of(tmp_path, stored=stored(3000, 3001), padding=3000)[:2] == [-1024, 3001]

    def test_padding_range_either_way_round(self, tmp_path: Path) -> None:
        pixels = stored(2999, 3000, 3005, 3010)
        for value, limit in ((3000, 3010), (3010, 3000)):
            assert hu_of(tmp_path, stored=pixels, padding=value, padding_limit=limit) == [2999, -1024, -1024, -1024]

    def test_padding_written_with_the_wrong_sign(self, tmp_path: Path) -> None:
        dataset = Image(stored=stored(-2000, 40), intercept=3000.0).dataset()
        dataset.add_new("PixelPaddingValue", "US", 63536)  # the bits of -2000
        dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        assert [int(v) for v in read_pixels(read_header(tmp_path / "a.dcm")).hu_HW[0, :2]] == [-1024, 3040]

    def test_padding_is_compared_before_the_unused_bits_are_cut_off(self, tmp_path: Path) -> None:
        pixels = stored(63536, 2096, dtype=np.uint16)
        dataset = Image(stored=pixels, bits_stored=12, intercept=-1024.0).dataset()
        dataset.add_new("PixelPaddingValue", "US", 63536)  # whose low twelve bits are 2096: bone
        dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        assert [int(v) for v in read_pixels(read_header(tmp_path / "a.dcm")).hu_HW[0, :2]] == [-1024, 1072]

    def test_padding_among_tissue_is_not_believed_and_noted(self, tmp_path: Path) -> None:
        scan = load(tmp_path, Image(stored=stored(0, 35), padding=0))
        assert [int(v) for v in scan.hu_SHW[0, 0, :2]] == [0, 35]
        assert remarks(scan) == [Remark.PADDING_IGNORED]

    def test_a_disk_that_fails_is_no_damaged_file(self, tmp_path: Path) -> None:
        with pytest.raises(Transient) as caught:
            load_files([tmp_path])
        assert caught.value.reason is Reason.STORE_UNAVAILABLE


def test_a_scale_that_was_lost_is_repaired_and_noted(tmp_path: Path) -> None:
    """Twelve bits, unsigned, intercept 0: air of -1000 HU stands as 3096 (paper.md, preprocessing)."""
    scan = load(tmp_path, Image(stored=stored(3096, 40, 1400, dtype=np.uint16), bits_stored=12))
    assert [int(v) for v in scan.hu_SHW[0, 0, :3]] == [-1000, 40, 1400]
    assert scan.notes == (Note(remark=Remark.HU_REPAIRED, detail="1 of 1 slices"),)


@pytest.mark.parametrize("units", ["Z_EFF", "MGML", "ED"])
def test_spectral_images_are_no_hu(tmp_path: Path, units: str) -> None:
    dataset = Image(stored=ramp()).dataset()
    dataset.RescaleType = units
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(NotAnalysable, match=units) as caught:
        load_files([tmp_path / "a.dcm"])
    assert caught.value.reason is Reason.NO_HOUNSFIELD_UNITS
