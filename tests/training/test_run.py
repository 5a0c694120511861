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
from training.loop import CHECKPOINT_NAME, StepReport, fit, learning_rate
from training.recipe import Recipe, load_recipe
from training.run import Progress, train
from training.synthetic import SPLITS, draw_phantom, generate, load_split

#: So little augmentation that six phantoms can be learnt by heart.
STILL = {
    "augmentation": {
        "rotation_deg": 0.0, "scale": [1.0, 1.0], "shear": 0.0, "warp_share": 0.0, "flip_share": 0.0,
        "noise_hu": [0.0, 0.0], "shading_hu": 0.0, "contrast": [1.0, 1.0], "slice_steps": [1.0],
    }
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny_phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Progress]]:
    out = tmp_path_factory.mktemp("run") / "tiny"
    heard: list[Progress] = []
    train("phantom-demo", out, overrides=TINY, phantoms=tiny_phantoms, on_progress=heard.append)
    return out, heard


def test_a_run_ends_in_a_bundle_that_says_what_it_is(run: tuple[Path, list[Progress]]) -> None:
    out, _ = run
    bundle = load_bundle(out / "bundle")
    assert bundle.identity.demonstration
    assert bundle.identity.statement == "trained on synthetic data: demonstration only"
    logits = bundle.network()(torch.zeros(3, 3, 64, 64))
    assert logits.shape == (3, 6)
    assert torch.isfinite(logits).all()


def test_the_figures_are_of_the_held_out_phantoms(run: tuple[Path, list[Progress]], tiny: Recipe) -> None:
    metrics = json.loads((run[0] / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["held_out_phantoms"]["scans"] == tiny.data.test_volumes
    manifest = load_bundle(run[0] / "bundle").manifest
    assert manifest.metrics["held_out_phantoms.scans"] == tiny.data.test_volumes
    assert metrics["model"]["weights_sha256"] == manifest.weights.sha256
    assert metrics["run"]["packages"]["torch"] == version("torch")


def test_the_caller_hears_every_stage(run: tuple[Path, list[Progress]]) -> None:
    assert list(dict.fromkeys(p.stage for p in run[1])) == ["phantoms", "training", "calibration", "measurement"]


def test_a_run_that_is_done_gives_the_same_bundle_again(
    run: tuple[Path, list[Progress]], tiny_phantoms: Path, tmp_path: Path
) -> None:
    train("phantom-demo", tmp_path / "again", overrides=TINY, phantoms=tiny_phantoms)
    name = "bundle/weights.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (run[0] / name).read_bytes()


def test_a_folder_keeps_to_its_recipe(run: tuple[Path, list[Progress]], tiny_phantoms: Path) -> None:
    with pytest.raises(UserError, match="another recipe"):
        train("phantom-demo", run[0], overrides=TINY | {"seed": 9}, phantoms=tiny_phantoms)


def test_a_killed_run_resumes_to_the_same_weights(tiny: Recipe, tiny_phantoms: Path, tmp_path: Path) -> None:
    """The checkpoint after step 3 of 6 is what a kill at step 4 or 5 leaves."""
    scans = load_split(tiny_phantoms, "train", tiny.data)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()

    class Killed(Exception):
        pass

    def kill(report: StepReport) -> None:
        if report.step == 5:
            raise Killed

    straight = fit(tiny, scans, whole, report_every=1)
    with pytest.raises(Killed):
        fit(tiny, scans, killed, on_step=kill, report_every=1)
    assert (killed / CHECKPOINT_NAME).is_file()
    heard: list[int] = []
    resumed = fit(tiny, scans, killed, on_step=lambda report: heard.append(report.step), report_every=1)
    assert heard == [4, 5, 6]
    for key, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_it_learns(tiny_phantoms: Path, tmp_path: Path) -> None:
    """Eighty steps on six coarse phantoms bring the loss down by a quarter: the loop is wired the right way round."""
    recipe = load_recipe("phantom-demo", TINY | STILL | {"optimisation.steps": 80, "optimisation.learning_rate": 5e-3})
    losses: list[float] = []
    fit(
        recipe,
        load_split(tiny_phantoms, "train", recipe.data),
        tmp_path,
        on_step=lambda r: losses.append(r.slice_loss),
        report_every=10,
    )
    assert losses[-1] < 0.75 * losses[0]


def test_the_rate_warms_up_and_ends_at_nothing(tiny: Recipe) -> None:
    plan = load_recipe("phantom-demo").optimisation
    assert learning_rate(0, plan) < 0.02 * plan.learning_rate
    assert learning_rate(plan.warmup_steps, plan) == pytest.approx(plan.learning_rate, rel=0.01)
    assert learning_rate(plan.steps - 1, plan) < 1e-4 * plan.learning_rate


def test_no_phantom_is_both_learnt_and_measured() -> None:
    data = load_recipe("phantom-demo").data
    drawn = [draw_phantom(data, seed=1, split=split, index=i).seed for split in SPLITS for i in range(200)]
    assert len(set(drawn)) == len(drawn)


def test_drawn_phantoms_have_the_recipes_shares() -> None:
    data = load_recipe("phantom-demo").data
    drawn = [draw_phantom(data, seed=2, split="train", index=i) for i in range(2000)]
    free = sum(not p.bleeds for p in drawn) / len(drawn)
    assert free == pytest.approx(data.bleed_free_share, abs=0.03)
    assert {kind for p in drawn for kind in p.bleeds} == set(BLEED_KINDS)
    assert all(data.slices[0] <= p.slices <= data.slices[1] for p in drawn)


def test_phantoms_do_not_depend_on_how_many_processes_render_them(
    tiny: Recipe, tiny_phantoms: Path, tmp_path: Path
) -> None:
    two = tiny.model_copy(update={"data": tiny.data.model_copy(update={"processes": 2})})
    heard: list[tuple[int, int]] = []
    generate(two, tmp_path, on_progress=lambda done, total: heard.append((done, total)))
    assert heard == [(done, 14) for done in range(15)]
    for split in SPLITS:
        for one, other in zip(
            load_split(tiny_phantoms, split, tiny.data), load_split(tmp_path, split, tiny.data), strict=True
        ):
            assert one.path.read_bytes() == other.path.read_bytes()


def test_a_stride_that_the_backbone_lacks_is_named(tiny: Recipe, tmp_path: Path) -> None:
    recipe = load_recipe("phantom-demo", TINY | {"loss.localisation_strides": [7]})
    with pytest.raises(UserError, match=r"names 7, but the maps of mobilenetv3_small_050 have strides 2, 4, 8, 16, 32"):
        fit(recipe, [], tmp_path)


def test_phantoms_of_another_recipe_are_not_mixed_in(tiny: Recipe, tiny_phantoms: Path, tmp_path: Path) -> None:
    copy = tmp_path / "phantoms"
    shutil.copytree(tiny_phantoms, copy)
    generate(tiny, copy)
    with pytest.raises(UserError, match="another recipe or version"):
        generate(tiny.model_copy(update={"seed": 3}), copy)
