"""A recipe says what it means or is refused with the mend."""

import json
from pathlib import Path

import pytest
import torch

from ichd.domain.errors import UserError
from ichd.vision.network import CnnLstm
from training.recipe import Recipe, list_recipes, load_recipe, parse_recipe


def test_every_shipped_recipe_is_valid_and_named_after_its_file() -> None:
    assert "phantom-demo" in list_recipes()
    for name in list_recipes():
        assert load_recipe(name).name == name


def test_the_demonstration_says_what_it_is() -> None:
    publication = load_recipe("phantom-demo").publication
    assert publication.demonstration
    assert publication.statement == "trained on synthetic data: demonstration only"


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("optimisation.update", "optimisation.updates"),
        ("network.recurent", "network.recurrent"),
        ("network.recurrent.hiden", "network.recurrent.hidden"),
        ("input.image_sice", "input.image_size"),
        ("dat", "data"),
    ],
)
def test_an_unknown_key_names_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(UserError, match=f"unknown key {key}; did you mean {nearest}\\?"):
        load_recipe("phantom-demo", {key: 1})


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("optimisation.updates", "many", "optimisation.updates"),
        ("optimisation.updates", 0, "greater than or equal to 1"),
        ("data.slices", [36, 18], "low to high"),
        ("loss.class_weights", [1.0, 1.0], "6 values"),
        ("data.bleed_free_share", 1.5, "less than or equal to 1"),
    ],
)
def test_a_value_that_cannot_be_is_named(key: str, value: object, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load_recipe("phantom-demo", {key: value})


def test_a_missing_key_is_named() -> None:
    content = json.loads(load_recipe("phantom-demo").to_json())
    del content["data"]["train_volumes"]
    with pytest.raises(UserError, match=r"data\.train_volumes is missing"):
        parse_recipe(content)


def test_a_run_has_one_length() -> None:
    with pytest.raises(UserError, match="one of epochs and updates"):
        load_recipe("resnet50", {"optimisation.updates": 5})


@pytest.mark.parametrize("key", ["augmentation.cutmix_alfa", "augmentation.crop_ratio"])
def test_keys_of_a_section_of_several_kinds_are_known(key: str) -> None:
    with pytest.raises(UserError, match=rf"unknown key {key}; did you mean augmentation\.c"):
        load_recipe("resnet50", {key: 1})


#: paper.md, "Training recipe", as a table of its own.
PUBLISHED: dict[str, object] = {
    "optimisation.epochs": 30, "optimisation.warmup": 3, "optimisation.slices_per_update": 100,
    "optimisation.accumulate": 2, "optimisation.window_slices": (10,), "optimisation.learning_rate": 1e-3,
    "optimisation.weight_decay": 1e-2, "optimisation.epsilon": 1e-3, "optimisation.gradient_norm": 0.0,
    "optimisation.average_decay": 0.0, "loss.class_weights": (2.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    "augmentation.kind": "paper", "augmentation.crop_area": (0.8, 1.0), "augmentation.shift": 0.0625,
    "augmentation.scale": 0.1, "augmentation.rotation_deg": 30.0, "augmentation.grid_distortion": 0.2,
    "augmentation.optical_distortion": 0.2, "augmentation.cutmix_alpha": 1.0, "input.image_size": 512,
    "input.field_of_view_mm": None, "input.quantise_bits": 8, "network.global_pool": "avg",
}  # fmt: skip


@pytest.mark.parametrize("name", ["resnet50", "seresnext50", "resnet50-2d", "seresnext50-2d"])
@pytest.mark.parametrize("key", PUBLISHED)
def test_the_published_recipes_say_the_papers_numbers(name: str, key: str) -> None:
    value: object = load_recipe(name)
    for part in key.split("."):
        value = getattr(value, part)
    assert value == PUBLISHED[key]


@pytest.mark.parametrize(
    ("name", "parameters", "decoder"),
    [
        ("resnet50", 40_307_782, 16_799_750),
        ("seresnext50", 42_310_646, 16_799_750),
        ("resnet50-2d", 23_520_326, 12_294),
    ],
)
def test_the_published_recipes_have_the_papers_networks(name: str, parameters: int, decoder: int) -> None:
    with torch.device("meta"):
        network = CnnLstm(load_recipe(name).network)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(p.numel() for p in network.decoder.parameters()) == decoder


def test_a_recipe_survives_its_own_json() -> None:
    recipe = load_recipe("phantom-demo", {"seed": 5})
    assert parse_recipe(json.loads(recipe.to_json())) == recipe
    assert Recipe.model_validate_json(recipe.to_json()).seed == 5


def test_what_is_no_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a shipped recipe"):
        load_recipe("no-such-recipe")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ", encoding="utf-8")
    with pytest.raises(UserError, match="no TOML"):
        load_recipe(str(broken))


@pytest.mark.parametrize(
    ("key", "value", "says"), [("seed.x", 1, "seed is no section"), ("seed", "2020-01-01", "seed")]
)
def test_a_change_that_fits_nowhere_is_named(key: str, value: object, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load_recipe("resnet50", {key: value})
