"""The generated layout is as odd as the data that it stands for."""

import csv
import hashlib
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ichd.domain.errors import UserError
from ichd.phantom import PhantomRecipe, render
from ichd.vision.pixels import read_pixels
from ichd.vision.slices import read_header
from training.layouts.rsna import ENCODINGS, IMAGES, LABELS, TEST_IDS, Encoding, stored_pixels, write_rsna_layout

from .conftest import STUDIES

#: All that a header of the data has (paper.md, "RSNA 2019 data"), and the group lengths of none.
TAGS = {
    "SOPInstanceUID", "Modality", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "StudyID",
    "ImagePositionPatient", "ImageOrientationPatient", "SamplesPerPixel", "PhotometricInterpretation", "Rows",
    "Columns", "PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "WindowCenter",
    "WindowWidth", "RescaleIntercept", "RescaleSlope", "PixelData",
}  # fmt: skip


@pytest.fixture(scope="module")
def headers(layout: Path) -> list[pydicom.FileDataset]:
    with pydicom.config.disable_value_validation():
        read = [pydicom.dcmread(path) for path in sorted((layout / IMAGES).iterdir())]
        # Values are parsed, and complained about, when they are asked for first.
        return [header for header in read if all(element.keyword for element in header)]


def test_headers_have_the_tags_of_the_data_and_no_others(headers: list[pydicom.FileDataset]) -> None:
    assert {element.keyword for header in headers for element in header} == TAGS


def test_identifiers_are_no_uids(headers: list[pydicom.FileDataset]) -> None:
    for header in headers:
        for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"):
            assert re.fullmatch("ID_[0-9a-f]{9}", str(header[keyword].value))


def test_there_are_five_encodings_and_the_one_to_repair(headers: list[pydicom.FileDataset]) -> None:
    found = {(h.BitsStored, h.PixelRepresentation, int(h.RescaleIntercept)) for h in headers}
    assert found == {(16, 1, -1024), (12, 0, -1024), (12, 0, -1000), (16, 1, 0), (12, 1, 0), (12, 0, 0)}


def test_one_image_is_cut_short_as_in_the_data(headers: list[pydicom.FileDataset]) -> None:
    short = [len(h.PixelData) for h in headers if len(h.PixelData) != 64 * 64 * 2]
    assert short == [2 * int(64 * 64 * 153_710 / 524_288)]


def test_studies_share_patients(headers: list[pydicom.FileDataset]) -> None:
    patients = defaultdict(set)
    for header in headers:
        patients[header.PatientID].add(header.StudyInstanceUID)
    assert sum(map(len, patients.values())) == STUDIES
    assert max(map(len, patients.values())) > 1


def test_the_csv_has_six_rows_an_image_and_those_of_four_images_twice(layout: Path) -> None:
    with (layout / LABELS).open() as file:
        rows = [tuple(row) for row in csv.reader(file)]
    assert rows[0] == ("ID", "Label")
    twice = [row for row, count in Counter(rows[1:]).items() if count == 2]
    assert len(twice) == 24
    images = {path.stem for path in (layout / IMAGES).iterdir()}
    assert len(rows) - 1 == 6 * len(images) + 24
    assert {name.rsplit("_", 1)[0] for name, _ in rows[1:]} == images


def test_the_patient_of_the_last_study_stands_on_both_sides_of_the_first_stage(
    layout: Path, headers: list[pydicom.FileDataset]
) -> None:
    test = set((layout / TEST_IDS).read_text().split())
    inside = {h.PatientID for h in headers if h.SOPInstanceUID in test}
    assert inside & {h.PatientID for h in headers if h.SOPInstanceUID not in test}


def test_every_encoding_gives_back_the_phantom(layout: Path, headers: list[pydicom.FileDataset]) -> None:
    """By what the daemon reads, the repair of the wrapped encoding included."""
    whole = [layout / IMAGES / f"{h.SOPInstanceUID}.dcm" for h in headers if len(h.PixelData) == 64 * 64 * 2]
    with pydicom.config.disable_value_validation():
        heads = [read_pixels(read_header(path)) for path in whole]
    assert any(pixels.repaired for pixels in heads)
    for pixels in heads:
        # Air outside the head, and nothing that wrapped round.
        assert -1024 <= int(pixels.hu_HW.min()) <= 0
        assert int(pixels.hu_HW[0, 0]) <= 0
        assert int(pixels.hu_HW.max()) < 3096


@given(
    hu_HW=arrays(np.int16, (4, 4), elements=st.integers(-1000, 2047)),
    encoding=st.sampled_from(ENCODINGS),
)
def test_hu_that_an_encoding_can_hold_are_stored_exactly(hu_HW: np.ndarray, encoding: Encoding) -> None:
    bits_HW = stored_pixels(hu_HW, encoding)
    stored_HW = bits_HW.view("<i2").astype(int) if encoding.signed else bits_HW.astype(int)
    np.testing.assert_array_equal(stored_HW + encoding.intercept, hu_HW)


def test_a_kept_phantom_slice_is_the_rendered_one() -> None:
    phantom = render(PhantomRecipe(seed=1, rows=64, slices=3, voxel_mm=3.0))
    hu_HW = phantom.hu_SHW[1]
    stored_HW = stored_pixels(hu_HW, ENCODINGS[0]).view("<i2").astype(int)
    np.testing.assert_array_equal(stored_HW - 1024, np.maximum(hu_HW, -1024))


def test_the_same_seed_gives_the_same_bytes(layout: Path, tmp_path: Path) -> None:
    write_rsna_layout(tmp_path / "again", studies=2, seed=9, rows=64, slices=(3, 4))
    write_rsna_layout(tmp_path / "and again", studies=2, seed=9, rows=64, slices=(3, 4))
    assert _digest(tmp_path / "again") == _digest(tmp_path / "and again")


def test_what_is_there_already_is_left_alone(layout: Path) -> None:
    before = _digest(layout)
    with pytest.raises(UserError, match="there already"):
        write_rsna_layout(layout, studies=1, seed=1)
    assert _digest(layout) == before


def _digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()
