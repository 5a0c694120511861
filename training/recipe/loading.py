"""One recipe from a TOML file, read strictly, so that a run is its recipe and its seed."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from ichd.domain.errors import UserError
from ichd.vision.manifest import InputSpec, NetworkSpec
from training.recipe.augmentation import PaperAugmentation, WideAugmentation
from training.recipe.data import Packed, Phantoms
from training.recipe.optimisation import Loss, Optimisation, SecondStage
from training.recipe.part import Part
from training.recipe.publication import Publication, Reading

#: Tags of sections of several kinds, which pydantic puts into an error's place.
_KINDS = frozenset({"phantoms", "packed", "wide", "paper"})

_SHIPPED = Path(__file__).parents[1] / "recipes"


class Recipe(Part):
    """One training run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(ge=0, lt=2**31)
    #: A starting point of the backbone, as `ichd model import --format timm` writes it; None: random weights.
    init: str | None = None
    data: Annotated[Phantoms | Packed, Field(discriminator="kind")]
    input: InputSpec
    network: NetworkSpec
    augmentation: Annotated[PaperAugmentation | WideAugmentation, Field(discriminator="kind")]
    optimisation: Optimisation
    loss: Loss = Loss()
    second_stage: SecondStage | None = None
    reading: Reading = Reading()
    publication: Publication

    @property
    def phantoms(self) -> Phantoms:
        """What a recipe that learns from phantoms says about them.

        Raises:
            UserError: this one learns from packed studies.
        """
        if not isinstance(self.data, Phantoms):
            raise UserError(f"recipe {self.name} learns from packed studies; give their folder with --data")
        return self.data

    def to_json(self) -> str:
        """The resolved recipe: every key, defaults included; equal recipes give equal text."""
        return self.model_dump_json(indent=2) + "\n"


def list_recipes() -> tuple[str, ...]:
    """Names of the shipped recipes."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def load_recipe(name_or_path: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A shipped recipe by name, or one at a path ending in .toml; `overrides` by dotted key ("optimisation.steps").

    Raises:
        UserError: there is no such recipe, or it says something that training can't follow; names the nearest key.
    """
    path = _find(name_or_path)
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is no TOML: {error}; correct the line it names") from error
    for key, value in (overrides or {}).items():
        _put(content, key.split("."), value)
    return parse_recipe(content, source=str(path))


def parse_recipe(content: Mapping[str, Any], *, source: str = "the recipe") -> Recipe:
    """The recipe that a decoded TOML document describes.

    Raises:
        UserError: as `load_recipe`.
    """
    try:
        # By way of JSON, where an array is a tuple and strict reading still tells 1 from "1".
        return Recipe.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise UserError(f"{source}: {_explain(error)}") from error


def _find(name_or_path: str) -> Path:
    if name_or_path in list_recipes():
        return _SHIPPED / f"{name_or_path}.toml"
    path = Path(name_or_path).expanduser()
    if path.suffix == ".toml" and path.is_file():
        return path
    raise UserError(
        f"{name_or_path!r} is neither a shipped recipe ({', '.join(list_recipes())}) nor a .toml file that exists"
    )


def _put(content: dict[str, Any], keys: list[str], value: Any) -> None:
    for depth, key in enumerate(keys[:-1]):
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise UserError(f"{'.'.join(keys[: depth + 1])} is no section, so that it has no {keys[depth + 1]!r}")
    content[keys[-1]] = value


def _explain(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    # A mistyped key often leaves a required one missing as well; the typo is what the person must see.
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    *parents, key = [str(part) for part in first["loc"] if part not in _KINDS] or ["the file"]
    name = ".".join([*parents, key])
    if first["type"] == "extra_forbidden":
        nearest = get_close_matches(key, sorted(_keys_at(parents)), n=1, cutoff=0.0)
        return f"unknown key {name}; did you mean {'.'.join([*parents, *nearest])}?"
    if first["type"] == "missing":
        return f"{name} is missing; add it"
    return f"{name}: {first['msg'].removeprefix('Value error, ')}"


def _keys_at(parents: list[str]) -> Iterator[str]:
    parts: list[type[BaseModel]] = [Recipe]
    for key in parents:
        annotations = [part.model_fields[key].annotation for part in parts if key in part.model_fields]
        nested = [inner for each in annotations for inner in (each, *getattr(each, "__args__", ()))]
        parts = [each for each in nested if isinstance(each, type) and issubclass(each, BaseModel)] or parts
    for part in parts:
        yield from part.model_fields
