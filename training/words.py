"""What a bundle says of itself in words: the recipe's, corrected by what the run has really learnt from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.recipe import Recipe

_SYNTHETIC = "trained on synthetic data: demonstration only"


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words that depend on the data."""

    training_data: str
    statement: str
    demonstration: bool


def words_of(recipe: Recipe, facts: Mapping[str, Any]) -> Words:
    """A recipe that was written for one data set says nothing about another; what is synthetic is always called so.

    `facts` are those of `training.material.Material`.
    """
    publication = recipe.publication
    index: Mapping[str, Any] = facts.get("index", {})
    source: Mapping[str, Any] = index.get("source", {})
    if facts["kind"] == "phantoms":
        return Words(
            training_data=publication.training_data,
            statement=publication.statement,
            demonstration=publication.demonstration,
        )
    counted = f"{facts['train_studies']} studies, data sha256 {facts['data_sha256']}"
    if source.get("synthetic"):
        text = f"Synthetic head CT phantoms only: {counted}."
        return Words(training_data=text, statement=_SYNTHETIC, demonstration=True)
    whose = publication.training_data if source.get("layout") == "rsna" else "Studies of the site's own."
    return Words(
        training_data=f"{whose} {counted}.",
        statement=publication.statement,
        demonstration=publication.demonstration,
    )
