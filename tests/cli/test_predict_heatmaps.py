"""`ichd predict --heatmaps`: pictures of the key slices of what was found, and of nothing else."""

import json
from pathlib import Path

import pytest
from PIL import Image

from ichd.phantom import PhantomRecipe, render, write_series
from tests.cli.test_main import SHARED_CACHE, ichd


@pytest.fixture(scope="module")
def bleeding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = PhantomRecipe(seed=910_003, bleeds=("intraparenchymal",), slices=14, rows=192, voxel_mm=2.0, subtlety=0.2)
    folder = tmp_path_factory.mktemp("bleeding")
    write_series(render(recipe), folder)
    return folder


def test_key_slices_of_one_class_are_written(tmp_path: Path, bleeding: Path) -> None:
    folder = tmp_path / "new" / "maps"

    done = ichd(
        "predict",
        str(bleeding),
        "--heatmaps",
        str(folder),
        "--class",
        "intraparenchymal",
        "--json",
        cwd=tmp_path,
        env=SHARED_CACHE,
    )

    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["presence"]["intraparenchymal"] == "present"
    written = sorted(folder.iterdir())
    assert sorted(m["path"] for m in record["heatmaps"]) == [str(path) for path in written]
    assert {m["class"] for m in record["heatmaps"]} == {"intraparenchymal"}
    assert 1 <= len(written) <= 3
    for path in written:
        with Image.open(path) as picture:
            assert picture.width > 2 * 512


def test_a_class_that_is_absent_is_said_to_have_no_map(tmp_path: Path, bleeding: Path) -> None:
    folder = tmp_path / "maps"

    done = ichd(
        "predict", str(bleeding), "--heatmaps", str(folder), "--class", "epidural", cwd=tmp_path, env=SHARED_CACHE
    )

    assert done.returncode == 0, done.stderr
    assert "no heat map of epidural: absent" in done.stdout
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--class", "subdural"), "name their folder by --heatmaps"),
        (("--heatmaps", "maps", "--class", "sub"), "subdural"),
        (("--heatmaps", "file"), "name another folder by --heatmaps"),
    ],
)
def test_options_that_make_no_sense_are_explained(
    tmp_path: Path, bleeding: Path, options: tuple[str, ...], said: str
) -> None:
    (tmp_path / "file").write_text("")

    done = ichd("predict", str(bleeding), *options, cwd=tmp_path)

    assert done.returncode == 2
    assert said in done.stderr
