"""What a training run is made of: a TOML file, read strictly, so that a run is its recipe and its seed.

The parts of the network and of its input are the bundle's own (`ichd.vision.manifest`): what is trained is what the
manifest will say.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.manifest import InputSpec, NetworkSpec

Share = Annotated[float, Field(ge=0.0, le=1.0)]
#: Lowest and highest value of a uniform draw.
Range = tuple[float, float]

_SHIPPED = Path(__file__).parent / "recipes"


class Part(BaseModel):
    """A section of a recipe: unknown keys and values of another type are errors, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> Self:
        for key in type(self).model_fields:
            value = getattr(self, key)
            if isinstance(value, tuple) and len(value) == 2 and value[0] > value[1]:
                raise ValueError(f"{key} runs from low to high, not from {value[0]} to {value[1]}")
        return self


class SyntheticData(Part):
    """Phantoms to learn from, to calibrate on and to measure on; the three never share a seed."""

    train_volumes: int = Field(ge=1)
    #: Read for the learning curve, for calibration and for thresholds.
    calibration_volumes: int = Field(ge=2)
    #: Read once, for the figures in the manifest.
    test_volumes: int = Field(ge=2)
    bleed_free_share: Share = 0.45
    #: Share of the bleeding phantoms that bleed in two or three compartments.
    combined_share: Share = 0.35
    #: Each mimic is in a phantom with this probability.
    mimic_share: Share = 0.15
    slices: tuple[int, int] = (20, 36)
    #: Image rows and columns before resampling to the model's grid, and the phantom's working grid in mm.
    rows: int = Field(default=256, ge=32, le=1024)
    voxel_mm: float = Field(default=1.5, ge=0.5, le=4.0)
    #: Share of phantoms whose slices are thinner than their distance, and how thin, mm: sharper and noisier.
    thin_share: Share = 0.2
    thin_mm: Range = (0.6, 2.5)
    #: How faint bleeds are, 0 (plain) to 1 (as faint as their kind allows).
    subtlety: Range = (0.0, 1.0)
    #: Width of the randomisation, 0 (clinical) to 1 (wide).
    wild: Range = (0.0, 1.0)
    processes: int = Field(default=2, ge=1)


class Augmentation(Part):
    """Random changes of HU on the model's grid; amplitudes are those of a wide draw, see `training.augment`."""

    flip_share: Share = 0.5
    rotation_deg: float = Field(default=20.0, ge=0.0)
    scale: Range = (0.85, 1.12)
    shear: float = Field(default=0.06, ge=0.0)
    shift_share: float = Field(default=0.06, ge=0.0)
    #: Standard deviation of slow displacements, as a share of the grid.
    warp_share: float = Field(default=0.012, ge=0.0)
    #: Standard deviation of the change of every tissue's HU, and of the slope of soft tissue contrast.
    offset_hu: float = Field(default=3.0, ge=0.0)
    contrast: Range = (0.85, 1.25)
    bone_gain: Range = (0.8, 1.2)
    #: Slow changes over the image: beam hardening and cupping.
    shading_hu: float = Field(default=3.0, ge=0.0)
    noise_hu: Range = (0.0, 4.5)
    blur_px: Range = (0.0, 1.0)
    sharpen_share: Share = 0.25
    coarse_share: Share = 0.1
    streak_share: Share = 0.1
    streak_hu: float = Field(default=12.0, ge=0.0)
    #: Steps between the slices of a window, in slices: under 1 a slice repeats, as thin ones look alike.
    slice_steps: tuple[float, ...] = (1.0, 1.0, 1.0, 0.5, 0.25, 2.0)


class Optimisation(Part):
    """AdamW with linear warm-up and cosine, and how long."""

    steps: int = Field(ge=1)
    slices_per_step: int = Field(default=40, ge=1)
    #: Slices of a window, drawn anew each step: a sequence model should not mind how long a scan is.
    window_slices: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(10,), min_length=1)
    learning_rate: float = Field(default=1e-3, gt=0.0)
    weight_decay: float = Field(default=1e-2, ge=0.0)
    epsilon: float = Field(default=1e-8, gt=0.0)
    warmup_steps: int = Field(default=100, ge=0)
    gradient_norm: float = Field(default=1.0, gt=0.0)
    #: Weights of the bundle are this moving average; 0 takes the last ones.
    average_decay: float = Field(default=0.998, ge=0.0, lt=1.0)
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"
    #: Of the loop itself; batches are made by a process beside it.
    threads: int = Field(default=1, ge=1)
    checkpoint_every: int = Field(default=250, ge=1)


class Loss(Part):
    """Weighted binary cross-entropy a slice (paper, loss), and the training-only localisation beside it."""

    class_weights: tuple[float, ...] = (2.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    #: A slice with less blood than is called visible is no clear negative: its classes weigh this much.
    faint_weight: Share = 0.2
    localisation_weight: float = Field(default=1.0, ge=0.0)
    #: Feature maps that must show where the blood is, by their stride in pixels.
    localisation_strides: tuple[int, ...] = (8, 16, 32)

    @model_validator(mode="after")
    def _a_weight_a_class(self) -> Self:
        if len(self.class_weights) != len(CLASSES):
            raise ValueError(f"class_weights needs {len(CLASSES)} values, one a class: {', '.join(CLASSES)}")
        return self


class Reading(Part):
    """Scan-level thresholds, fixed on the calibration phantoms."""

    #: Present from the probability that this share of the scans without the class stays below ...
    present_specificity: Share = 0.85
    #: ... and absent below the one that this share of the scans with it reaches.
    absent_sensitivity: Share = 0.85
    #: The zone of doubt reaches at least so far to either side of its middle, in logits.
    least_doubt: Annotated[float, Field(gt=0)] = 0.2


class Publication(Part):
    """What the bundle's manifest says in words."""

    version: str
    statement: str = ""
    demonstration: bool = False
    intended_use: str
    training_data: str
    licence: str
    storage: Literal["fp32", "fp16", "int8"] = "fp16"
    least_precision: Literal["fp32", "bf16"] = "bf16"


class Recipe(Part):
    """One training run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(ge=0, lt=2**31)
    #: A starting point of the backbone, as `ichd model import --format timm` writes it; None: random weights.
    init: str | None = None
    data: SyntheticData
    input: InputSpec
    network: NetworkSpec
    augmentation: Augmentation = Augmentation()
    optimisation: Optimisation
    loss: Loss = Loss()
    reading: Reading = Reading()
    publication: Publication

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
        return Recipe.model_validate_json(json.dumps(content))
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
    for key in keys[:-1]:
        content = content.setdefault(key, {})
    content[keys[-1]] = value


def _explain(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    # A mistyped key often leaves a required one missing as well; the typo is what the person must see.
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    *parents, key = [str(part) for part in first["loc"]] or ["the file"]
    name = ".".join([*parents, key])
    if first["type"] == "extra_forbidden":
        nearest = get_close_matches(key, sorted(_keys_at(parents)), n=1, cutoff=0.0)
        return f"unknown key {name}; did you mean {'.'.join([*parents, *nearest])}?"
    if first["type"] == "missing":
        return f"{name} is missing; add it"
    return f"{name}: {first['msg'].removeprefix('Value error, ')}"


def _keys_at(parents: list[str]) -> Iterator[str]:
    part: type[BaseModel] = Recipe
    for key in parents:
        annotation = part.model_fields[key].annotation if key in part.model_fields else None
        nested = [a for a in (annotation, *getattr(annotation, "__args__", ())) if isinstance(a, type)]
        part = next((a for a in nested if issubclass(a, BaseModel)), part)
    yield from part.model_fields
