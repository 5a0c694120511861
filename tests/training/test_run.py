"""A whole run, from recipe to bundle, on phantoms so coarse that it ends in seconds."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from ichd.domain.errors import UserError
from ichd.phantom import BLEED_KINDS
from ichd.vision.bundle import load_bundle
from tests.training.conftest import TINY
from training.recipe import Recipe, load_recipe
from training.run import Stage, train
from training.synthetic import SPLITS, draw_phantom, generate, load_split


@pytest.fixture(scope="module")
def run(tiny_phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Stage]]:
    out = tmp_path_factory.mktemp("run") / "tiny"
    heard: list[Stage] = []
    train("phantom-demo", out, overrides=TINY, data=tiny_phantoms, on_stage=heard.append)
    return out, heard


def test_a_run_ends_in_a_bundle_that_says_what_it_is(run: tuple[Path, list[Stage]]) -> None:
    out, _ = run
    bundle = load_bundle(out / "bundle")
    assert bundle.identity.demonstration
    assert bundle.identity.statement == "trained on synthetic data: demonstration only"
    logits = bundle.network()(torch.zeros(3, 3, 64, 64))
    assert logits.shape == (3, 6)
    assert torch.isfinite(logits).all()


def test_the_figures_are_of_the_held_out_phantoms(run: tuple[Path, list[Stage]], tiny: Recipe) -> None:
    metrics = json.loads((run[0] / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["held_out_phantoms"]["scans"] == tiny.phantoms.test_volumes
    manifest = load_bundle(run[0] / "bundle").manifest
    assert manifest.metrics["held_out_phantoms.scans"] == tiny.phantoms.test_volumes
    assert metrics["model"]["weights_sha256"] == manifest.weights.sha256
    assert metrics["run"]["packages"]["torch"] == version("torch")


def test_the_caller_hears_every_stage(run: tuple[Path, list[Stage]]) -> None:
    assert list(dict.fromkeys(p.name for p in run[1])) == ["phantoms", "training", "calibration", "measurement"]


def test_a_run_that_is_done_gives_the_same_bundle_again(
    run: tuple[Path, list[Stage]], tiny_phantoms: Path, tmp_path: Path
) -> None:
    train("phantom-demo", tmp_path / "again", overrides=TINY, data=tiny_phantoms)
    name = "bundle/weights.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (run[0] / name).read_bytes()


def test_a_folder_keeps_to_its_recipe(run: tuple[Path, list[Stage]], tiny_phantoms: Path) -> None:
    with pytest.raises(UserError, match="another recipe"):
        train("phantom-demo", run[0], overrides=TINY | {"seed": 9}, data=tiny_phantoms)


def test_no_phantom_is_both_learnt_and_measured() -> None:
    data = load_recipe("phantom-demo").phantoms
    drawn = [draw_phantom(data, seed=1, split=split, index=i).seed for split in SPLITS for i in range(200)]
    assert len(set(drawn)) == len(drawn)


def test_drawn_phantoms_have_the_recipes_shares() -> None:
    data = load_recipe("phantom-demo").phantoms
    drawn = [draw_phantom(data, seed=2, split="train", index=i) for i in range(2000)]
    free = sum(not p.bleeds for p in drawn) / len(drawn)
    assert free == pytest.approx(data.bleed_free_share, abs=0.03)
    assert {kind for p in drawn for kind in p.bleeds} == set(BLEED_KINDS)
    assert all(data.slices[0] <= p.slices <= data.slices[1] for p in drawn)


def test_phantoms_do_not_depend_on_how_many_processes_render_them(
    tiny: Recipe, tiny_phantoms: Path, tmp_path: Path
) -> None:
    two = tiny.model_copy(update={"data": tiny.phantoms.model_copy(update={"processes": 2})})
    heard: list[tuple[int, int]] = []
    generate(two, tmp_path, on_progress=lambda done, total: heard.append((done, total)))
    assert heard == [(done, 14) for done in range(15)]
    for split in SPLITS:
        for one, other in zip(
            load_split(tiny_phantoms, split, tiny.phantoms), load_split(tmp_path, split, tiny.phantoms), strict=True
        ):
            assert one.path.read_bytes() == other.path.read_bytes()


def test_phantoms_of_another_recipe_are_not_mixed_in(tiny: Recipe, tiny_phantoms: Path, tmp_path: Path) -> None:
    copy = tmp_path / "phantoms"
    shutil.copytree(tiny_phantoms, copy)
    generate(tiny, copy)
    with pytest.raises(UserError, match="another recipe or version"):
        generate(tiny.model_copy(update={"seed": 3}), copy)
