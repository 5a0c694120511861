"""WADO-RS: pictures."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pydicom.dataset import FileDataset

from tests.web.archive import Answer, Archive, changed, slices
from tests.web.dicomweb.retrieving import address, get


def picture_of(answer: Answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(BytesIO(answer.content)))


def hu_of(dataset: FileDataset) -> np.ndarray:
    hu: np.ndarray = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    return hu


def test_a_picture_is_windowed_as_asked(viewer: TestClient, sources: list[FileDataset]) -> None:
    answer = viewer.get(f"{address(sources[2])}/rendered?window=75,215,linear-exact", headers={"Accept": "image/png"})
    hu = hu_of(sources[2])

    picture = picture_of(answer)

    assert answer.headers["content-type"] == "image/png"
    expected = np.rint(np.clip((hu - 75) / 215 + 0.5, 0, 1) * 255)
    assert np.abs(picture.astype(int) - expected).max() <= 1
    assert 0 < (picture == 255).mean() < 0.5


def test_a_picture_without_a_window_takes_the_files_own_or_brain(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    own = changed(slices()[2], WindowCenter=[600, 40], WindowWidth=[2800, 80], SOPInstanceUID="1.2.3.1")
    bare = changed(slices()[2], SOPInstanceUID="1.2.3.2")
    for keyword in ("WindowCenter", "WindowWidth"):
        if keyword in bare:
            delattr(bare, keyword)
    for each in (own, bare):
        archive.file_dataset(each)
    png = {"Accept": "image/png"}

    with archive.client() as client:
        for dataset, window in ((own, "600,2800"), (bare, "40,80")):
            default = picture_of(client.get(f"{address(dataset)}/rendered", headers=png))
            asked = picture_of(client.get(f"{address(dataset)}/rendered?window={window},linear", headers=png))
            np.testing.assert_array_equal(default, asked)


def test_a_picture_fits_into_its_viewport(viewer: TestClient, sources: list[FileDataset]) -> None:
    path = f"{address(sources[2])}/rendered"

    jpeg = viewer.get(f"{path}?viewport=64,200&quality=50")
    corner = viewer.get(f"{path}?viewport=100,100,0,0,10,20")

    assert jpeg.headers["content-type"] == "image/jpeg"
    assert picture_of(jpeg).shape == (64, 64)
    assert picture_of(corner).shape == (100, 50)
    assert len(viewer.get(f"{path}?quality=95").content) > len(viewer.get(f"{path}?quality=20").content)


@pytest.mark.parametrize(
    "query",
    [
        "window=40",
        "window=40,80,cubic",
        "window=40,0",
        "window=nan,80",
        "quality=0",
        "quality=high",
        "viewport=0,10",
        "viewport=99999,99999",
        "viewport=10",
        "viewport=10,10,5000,5000,10,10",
        "viewport=10,10,-1,0,10,10",
    ],
)
def test_a_picture_that_makes_no_sense_is_refused(viewer: TestClient, sources: list[FileDataset], query: str) -> None:
    answer = viewer.get(f"{address(sources[0])}/rendered?{query}")

    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_picture_is_no_tiff(viewer: TestClient, sources: list[FileDataset]) -> None:
    assert get(viewer, f"{address(sources[0])}/rendered", "image/tiff").status_code == 406
