"""Plain phantoms: what is asked for is there for anybody to see, and the same seed gives the same one."""

import pytest

from ichd.app import plain
from ichd.app.plain import plain_recipe, shows_plainly
from ichd.domain.errors import IchdError
from ichd.phantom import BLEED_KINDS, PhantomRecipe, render


@pytest.mark.parametrize("kind", BLEED_KINDS)
def test_every_kind_can_be_had_plainly(kind: str) -> None:
    recipe = PhantomRecipe(seed=4, bleeds=(kind,), rows=128, voxel_mm=2.0)
    chosen = plain_recipe(recipe)
    assert chosen == plain_recipe(recipe)
    assert shows_plainly(render(chosen))
    assert (chosen.bleeds, chosen.slices, chosen.rows) == (recipe.bleeds, recipe.slices, recipe.rows)


def test_a_bleed_free_phantom_is_left_alone() -> None:
    recipe = PhantomRecipe(seed=4)
    assert plain_recipe(recipe) is recipe


def test_what_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "CONTRAST_HU", 500.0)
    monkeypatch.setattr(plain, "_TRIES", 2)
    with pytest.raises(IchdError, match="fewer bleeds"):
        plain_recipe(PhantomRecipe(seed=4, bleeds=("subdural",), rows=128, voxel_mm=2.0))
