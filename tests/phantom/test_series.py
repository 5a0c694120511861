"""A phantom on disk: legal CT images, equal bytes for equal seeds, truth that names the same instances."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from ichd.phantom import BLEED_KINDS, Phantom, PhantomRecipe, render, write_series, write_truth


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    recipe = PhantomRecipe(seed=21, bleeds=("epidural",), slices=12, rows=128, voxel_mm=2.5, tilt_deg=18.5)
    return render(recipe)


@pytest.fixture(scope="module")
def files(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(phantom, tmp_path_factory.mktemp("series"))


def test_pixels_survive(phantom: Phantom, files: list[Path]) -> None:
    for index, path in enumerate(files):
        image = pydicom.dcmread(path)
        hu = image.pixel_array.astype(np.int32) * int(image.RescaleSlope) + int(image.RescaleIntercept)
        assert np.array_equal(hu, phantom.hu_SHW[index])


def test_geometry_in_the_header(phantom: Phantom, files: list[Path]) -> None:
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    row, column = (np.asarray(images[0].ImageOrientationPatient[i : i + 3], dtype=float) for i in (0, 3))
    assert np.isclose(row @ row, 1.0)
    assert np.isclose(column @ column, 1.0)
    assert np.isclose(row @ column, 0.0)
    normal = np.cross(row, column)
    along = [float(normal @ np.asarray(image.ImagePositionPatient, dtype=float)) for image in images]
    assert np.all(np.diff(along) > 0)
    assert np.isclose(np.degrees(np.arccos(normal[2])), float(images[0].GantryDetectorTilt), atol=1e-3)
    assert np.allclose(np.diff([float(i.ImagePositionPatient[2]) for i in images]), np.diff(phantom.z_mm), atol=1e-3)


def test_equal_recipes_give_equal_bytes(phantom: Phantom, files: list[Path], tmp_path: Path) -> None:
    again = write_series(render(phantom.recipe), tmp_path)
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in files]


def test_says_that_it_is_synthetic(files: list[Path]) -> None:
    image = pydicom.dcmread(files[0], stop_before_pixels=True)
    assert image.Manufacturer == "ichd phantom"
    assert "Synthetic" in image.StudyDescription
    assert "synthetic" in image.SeriesDescription


def test_dciodvfy_finds_no_error(files: list[Path]) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")
    for path in (files[0], files[-1]):
        verdict = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in verdict.stderr + verdict.stdout


def test_truth_names_the_same_instances(phantom: Phantom, files: list[Path], tmp_path: Path) -> None:
    truth = json.loads(write_truth(phantom, tmp_path).read_text())
    uids = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files]
    assert [entry["sop_uid"] for entry in truth["slices"]] == uids
    assert truth["scan"]["epidural"]
    assert truth["volumes_ml"]["epidural"] > 0
    labels = np.load(tmp_path / "labels.npz")
    assert np.array_equal(labels["label_SHW"], phantom.label_SHW)
    assert tuple(labels["kinds"]) == BLEED_KINDS
