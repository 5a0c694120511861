"""What `ichd predict` could not use is in its JSON, and a run that read nothing is no success."""

import json
from pathlib import Path

import pydicom
import pytest

from ichd.phantom import PhantomRecipe, render, write_series
from tests.cli.test_main import SHARED_CACHE, ichd


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    return write_series(render(PhantomRecipe(seed=3, slices=3, rows=64, voxel_mm=3.0)), tmp_path / "series")


def test_a_truncated_slice_is_listed(series: list[Path], tmp_path: Path) -> None:
    series[1].write_bytes(series[1].read_bytes()[:3000])
    done = ichd("predict", "series", "--json", cwd=tmp_path, env=SHARED_CACHE)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert len(record["slices"]) == 2
    (left,) = record["left_out"]
    assert (Path(left["path"]).name, left["reason"]) == (series[1].name, "truncated")


def test_nothing_read_is_exit_code_1(series: list[Path], tmp_path: Path) -> None:
    for path in series:
        image = pydicom.dcmread(path)
        image.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        image.save_as(path)
    done = ichd("predict", "series", "--json", cwd=tmp_path, env=SHARED_CACHE)
    assert done.returncode == 1
    assert json.loads(done.stdout)["reason"] == "localizer"
