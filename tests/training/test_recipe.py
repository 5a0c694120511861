"""A recipe says what it means or is refused with the mend."""

import json
from pathlib import Path

import pytest

from ichd.domain.errors import UserError
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
        ("optimisation.step", "optimisation.steps"),
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
        ("optimisation.steps", "many", "optimisation.steps"),
        ("optimisation.steps", 0, "greater than or equal to 1"),
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
    del content["optimisation"]["steps"]
    with pytest.raises(UserError, match=r"optimisation\.steps is missing"):
        parse_recipe(content)


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
