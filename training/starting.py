"""The weights that a recipe's backbone starts from."""

from functools import lru_cache
from pathlib import Path

from ichd.vision.starting_point import StartingPoint, fetch_backbone, load_starting_point
from training.recipe import Recipe

_TIMM = "timm:"


def starting_point_of(recipe: Recipe) -> StartingPoint | None:
    """As `init` says: "timm:NAME" from timm's cache or the network, else a file; None for random weights.

    Raises:
        UserError: there are no such weights; the message names the mend.
    """
    return None if recipe.init is None else _loaded(recipe.init)


@lru_cache(maxsize=1)
def _loaded(init: str) -> StartingPoint:
    if init.startswith(_TIMM):
        return fetch_backbone(init.removeprefix(_TIMM))
    return load_starting_point(Path(init))
