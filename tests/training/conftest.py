"""Recipes so small that a run ends in seconds, and the phantoms that they learn from."""

from pathlib import Path

import pytest

from training.recipe import Recipe, load_recipe

#: By dotted key, over the demonstration's recipe.
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
    "optimisation.updates": 6,
    "optimisation.slices_per_update": 8,
    "optimisation.window_slices": [2, 4],
    "optimisation.warmup": 2,
}

#: The published way of learning, on the same phantoms: epochs, accumulated micro-batches, its augmentation, CutMix.
PUBLISHED: dict[str, object] = TINY | {
    "augmentation": {"kind": "paper"},
    "network.backbone": "resnet10t",
    "loss": {},
    "optimisation": {
        "epochs": 4, "warmup": 1, "slices_per_update": 16, "accumulate": 2, "window_slices": [4],
        "learning_rate": 1e-3, "epsilon": 1e-3, "precision": "32-true", "threads": 1,
    },
}  # fmt: skip
for _key in [key for key in PUBLISHED if key.startswith(("optimisation.", "loss."))]:
    del PUBLISHED[_key]


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    return load_recipe("phantom-demo", TINY)


@pytest.fixture(scope="session")
def published() -> Recipe:
    return load_recipe("phantom-demo", PUBLISHED)


@pytest.fixture(scope="session")
def tiny_phantoms(tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rendered phantoms of both recipes."""
    from training.synthetic import generate

    folder = tmp_path_factory.mktemp("phantoms")
    generate(tiny, folder)
    return folder
