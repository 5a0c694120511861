"""Real images, found by ICHD_TEST_DATA, and the real slice that pydicom-data brings."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from ichd.domain.errors import NotAnalysable
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.vision.headness import require_head
from ichd.vision.preprocess import head_centre
from tests.vision.images import load_files

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom comments on the test files' flaws

needs_data = pytest.mark.skipif("ICHD_TEST_DATA" not in os.environ, reason="ICHD_TEST_DATA is not set")


def data(folder: str) -> Path:
    return Path(os.environ["ICHD_TEST_DATA"]) / folder


def pydicom_data(name: str) -> Path:
    spec = importlib.util.find_spec("data_store")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("pydicom-data is not installed")
    return Path(next(iter(spec.submodule_search_locations))) / "data" / name


@needs_data
def test_the_real_head_ct_is_read_whole_and_is_a_head() -> None:
    scan = load_files(sorted(data("head-ct-ge").glob("*.dcm"), reverse=True))
    assert scan.hu_SHW.shape == (28, 512, 512)
    assert scan.hu_SHW.dtype == np.int16
    assert Note(remark=Remark.TILTED, detail="18.5 degrees") in scan.notes
    gaps = np.diff(scan.z_mm)
    assert (gaps.min(), gaps.max()) == (pytest.approx(1.1, abs=0.2), pytest.approx(7.4, abs=0.5))
    assert scan.hu_SHW[:, 0, 0].tolist() == [-1024] * 28, "padding outside the reconstruction circle is air"
    assert 20 < np.median(scan.hu_SHW[14:20, 200:300, 200:300]) < 45, "brain"
    row, column = head_centre(scan.hu_SHW, scan.pixel_spacing_mm)
    assert np.hypot(row - 256, column - 256) * 0.488 < 30
    require_head(scan)


@pytest.mark.parametrize(("name", "lossy"), [("693_UNCI.dcm", True), ("693_UNCR.dcm", False), ("693_J2KR.dcm", False)])
def test_the_real_slice_with_a_subdural_haematoma_is_a_head(name: str, lossy: bool) -> None:
    """UNCI was compressed 338 times and decoded again: its header says so, its transfer syntax does not."""
    scan = load_files([pydicom_data(name)])
    assert scan.hu_SHW.min() == -1024
    assert any(note.remark is Remark.LOSSY_COMPRESSION for note in scan.notes) == lossy
    require_head(scan)


def test_reversible_jpeg_2000_gives_the_same_slice() -> None:
    """Its codestream has 14 bits where the header says 16."""
    plain, compressed = (load_files([pydicom_data(name)]) for name in ("693_UNCR.dcm", "693_J2KR.dcm"))
    assert np.array_equal(plain.hu_SHW, compressed.hu_SHW)


@needs_data
def test_the_chest_is_not_a_head() -> None:
    with pytest.raises(NotAnalysable, match="mm across") as caught:
        require_head(load_files([data("transfer-syntaxes") / "CTImage.dcm"]))
    assert caught.value.reason is Reason.NOT_A_HEAD


@needs_data
def test_the_hollow_plastic_phantom_is_not_a_head() -> None:
    scan = load_files(sorted((data("head-phantom-philips") / "S21570" / "S2010").glob("I*")))
    assert scan.hu_SHW.shape[0] == 28
    with pytest.raises(NotAnalysable) as caught:
        require_head(scan)
    assert caught.value.reason is Reason.NOT_A_HEAD


#: By transfer syntax UID: the largest HU difference to the uncompressed image, or the coded reason.
SYNTAXES: dict[str, int | Reason] = {
    "1.2.840.10008.1.2": 0,
    "1.2.840.10008.1.2.1": 0,
    "1.2.840.10008.1.2.1.99": 0,
    "1.2.840.10008.1.2.2": 0,
    "1.2.840.10008.1.2.5": 0,
    "1.2.840.10008.1.2.4.57": 0,
    "1.2.840.10008.1.2.4.70": 0,
    "1.2.840.10008.1.2.4.80": 0,
    "1.2.840.10008.1.2.4.81": 3,
    "1.2.840.10008.1.2.4.90": 0,
    "1.2.840.10008.1.2.4.91": 40,
    "1.2.840.10008.1.2.4.50": 65,  # two grey levels of 32 HU
    "1.2.840.10008.1.2.4.51": 40,
    "1.2.840.10008.1.2.4.53": Reason.UNSUPPORTED_TRANSFER_SYNTAX,
    "1.2.840.10008.1.2.4.55": Reason.UNSUPPORTED_TRANSFER_SYNTAX,
}


@needs_data
@pytest.mark.parametrize(("syntax", "expected"), SYNTAXES.items())
def test_transfer_syntaxes(syntax: str, expected: int | Reason) -> None:
    (path,) = data("transfer-syntaxes").glob(f"CTImage.dcm_*_{syntax}.dcm")
    if isinstance(expected, Reason):
        with pytest.raises(NotAnalysable) as caught:
            load_files([path])
        assert caught.value.reason is expected
        return
    reference = load_files([data("transfer-syntaxes") / "CTImage.dcm"]).hu_SHW.astype(int)
    difference = np.abs(load_files([path]).hu_SHW.astype(int) - reference)
    assert difference.max() <= expected


@needs_data
def test_every_malformed_file_is_read_or_gets_a_coded_reason() -> None:
    paths = sorted(data("malformed").rglob("*.dcm"))
    assert len(paths) > 100
    known = {
        Reason.FILE_DAMAGED,
        Reason.MISSING_GEOMETRY,
        Reason.MULTI_FRAME,
        Reason.NO_HOUNSFIELD_UNITS,
        Reason.PIXELS_UNREADABLE,
        Reason.UNSUPPORTED_TRANSFER_SYNTAX,
    }
    assert {outcome(path) for path in paths} <= known | {None}


def outcome(path: Path) -> Reason | None:
    try:
        load_files([path])
    except NotAnalysable as error:
        return error.reason
    return None


@needs_data
@pytest.mark.skipif(shutil.which("dcmdjpeg") is None, reason="dcmtk is not installed (Debian: apt-get install dcmtk)")
def test_twelve_bit_jpeg_decodes_as_dcmtk_decodes_it(tmp_path: Path) -> None:
    (path,) = data("transfer-syntaxes").glob("CTImage.dcm_*_1.2.840.10008.1.2.4.51.dcm")
    subprocess.run(["dcmdjpeg", str(path), str(tmp_path / "decoded.dcm")], check=True)
    np.testing.assert_array_equal(dcmread(path).pixel_array, dcmread(tmp_path / "decoded.dcm").pixel_array)
