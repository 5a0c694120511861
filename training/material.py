"""What a run learns from, is chosen by, calibrated on and measured on: never the same scans for two of these.

But one: where packed studies have a split for validation only, the epoch is chosen and thresholds are fixed on it, and
nothing is said of how good the model is; `ichd eval` says that, on a split that the run has not touched.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from ichd.domain.errors import UserError
from training.lessons.source import PackedSource, PhantomSource, Source
from training.recipe import Recipe
from training.synthetic import generate, load_split, phantom_digest


@dataclass(frozen=True, kw_only=True)
class Material:
    """A run's scans."""

    learn: Source
    #: The best epoch is chosen on these; None: the last is taken.
    select: Source | None
    #: For calibration and thresholds; None: both stay as they are by default.
    calibrate: Source | None
    #: For the figures in the manifest, read once.
    measure: Source | None
    #: Which data this is, to the bit.
    facts: Mapping[str, Any] = field(default_factory=dict)


def open_material(
    recipe: Recipe,
    out: Path,
    fabric: Fabric,
    *,
    data: Path | None,
    on_rendered: Callable[[int, int], None] = lambda _done, _all: None,
) -> Material:
    """The scans that a recipe asks for; phantoms are rendered by the first process, into `data` or the run's folder.

    Raises:
        UserError: there is no packed data at `data`, or nothing in it to learn from.
    """
    if recipe.data.kind == "packed":
        return _packed(recipe, data)
    folder = data or out / "phantoms"
    if fabric.is_global_zero:
        generate(recipe, folder, on_progress=on_rendered)
    fabric.barrier()
    learn, calibrate, measure = (
        PhantomSource(load_split(folder, split, recipe.phantoms), recipe) for split in ("train", "calibration", "test")
    )
    # Epochs are what the best one is chosen from; a run of so many updates keeps its last weights.
    select = calibrate if recipe.optimisation.epochs else None
    facts = {"kind": "phantoms", "phantom_sha256": phantom_digest()}
    return Material(learn=learn, select=select, calibrate=calibrate, measure=measure, facts=facts)


def _packed(recipe: Recipe, data: Path | None) -> Material:
    from training.packed.dataset import open_packed

    if data is None:
        raise UserError(f"recipe {recipe.name} learns from packed studies; name their folder with --data")
    packed = open_packed(data)
    selection = recipe.data.selection  # type: ignore[union-attr]
    train, valid = packed.split("train"), [study for study in packed.studies if study.split == selection]
    held_out = PackedSource(valid) if valid else None
    facts = {
        "kind": "packed",
        "data_sha256": packed.data_sha256,
        "train_studies": len(train),
        "selection": selection,
        "selection_studies": len(valid),
        "index": dict(packed.facts),
    }
    return Material(learn=PackedSource(train), select=held_out, calibrate=held_out, measure=None, facts=facts)
