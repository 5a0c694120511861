"""A recipe so small that a run ends in seconds."""

from pathlib import Path

import pytest

from training.recipe import Recipe, load_recipe

#: By dotted key, over the shipped recipe.
TINY: dict[str, object] = {
    "data.train_volumes": 6,
    "data.calibration_volumes": 4,
    "data.test_volumes": 4,
    "data.slices": [10, 12],
    "data.rows": 96,
    "data.voxel_mm": 3.0,
    "data.processes": 1,
    "input.image_size": 64,
    "network.backbone": "mobilenetv3_small_050",
    "network.global_pool": "avg",
    "network.recurrent": {"layers": 1, "hidden": 8},
    "loss.localisation_strides": [8, 16],
    "optimisation.steps": 6,
    "optimisation.slices_per_step": 8,
    "optimisation.window_slices": [2, 4],
    "optimisation.warmup_steps": 2,
    "optimisation.checkpoint_every": 3,
}


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    return load_recipe("phantom-demo", TINY)


@pytest.fixture(scope="session")
def tiny_phantoms(tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rendered phantoms of `tiny`."""
    from training.synthetic import generate

    folder = tmp_path_factory.mktemp("phantoms")
    generate(tiny, folder)
    return folder
