"""One training run from recipe to bundle: open, fit, refine, calibrate, export; each resumes where it stopped."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from ichd.domain.errors import UserError
from training.circumstances import circumstances
from training.curve import draw_curve
from training.journal import Progress, Validation
from training.launch import launch
from training.loop import Run, fit
from training.material import Material, open_material
from training.publish import publish
from training.recipe import Recipe, load_recipe
from training.second_stage import refine
from training.starting import starting_point_of

RECIPE_NAME = "recipe.json"
_SPENT = "spent.json"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How far one stage of a run is."""

    #: "phantoms", "training", "embedding", "second stage", "calibration" or "measurement".
    name: str
    done: int
    total: int
    #: For people: losses and speed while training.
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """Where the run's products lie, and what is known of the bundle."""

    bundle: Path
    metrics: Mapping[str, Any]
    #: Wall-clock time of all stages, over all starts of this run.
    minutes: float


def train(
    recipe_name_or_path: str,
    out: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    data: Path | None = None,
    device: str = "auto",
    on_stage: Callable[[Stage], None] = lambda _stage: None,
) -> TrainingResult:
    """Train what the recipe describes; ends with `out/bundle` and `out/metrics.json`.

    A run that was killed goes on when it is started again with the same arguments. `data` is the folder of the packed
    studies; for a recipe that learns from phantoms, where they are rendered to, `out/phantoms` by default. Under
    torchrun every process calls this, and the first one writes.

    Raises:
        UserError: the recipe can't be followed, `out` holds a run of another recipe or of other data, the disk is full.
        Interrupted: told to stop, and saved.
        Diverged: the loss is no number any more.
    """
    recipe = load_recipe(recipe_name_or_path, overrides)
    # A missing starting point is known at once, and not when everything is rendered.
    starting_point_of(recipe)
    fabric = launch(recipe, device=device)
    if not fabric.is_global_zero:
        on_stage = _silent
    out.mkdir(parents=True, exist_ok=True)
    stopwatch = _Stopwatch(out / _SPENT)
    material = open_material(recipe, out, fabric, data=data, on_rendered=_teller(on_stage, "phantoms"))
    if fabric.is_global_zero:
        _claim(out, recipe, material)
    # At the start: the checkout may move on while a run goes on.
    said = circumstances(recipe, material.facts, fabric)

    def heard(name: str) -> Callable[[Progress | Validation], None]:
        def hear(line: Progress | Validation) -> None:
            if fabric.is_global_zero:
                stopwatch.save()
            if isinstance(line, Progress):
                on_stage(Stage(name=name, done=line.update, total=line.updates, detail=_detail(line)))

        return hear

    run = Run(recipe=recipe, learn=material.learn, select=material.select, folder=out)
    fitted = fit(run, fabric, hear=heard("training"))
    said["validation"] = _figures(fitted.chosen, stage=1)
    if recipe.second_stage is not None:
        telling, network = _teller(on_stage, "embedding"), fitted.network
        refined = refine(recipe, network, material, out, fabric, hear=heard("second stage"), on_embedded=telling)
        fitted = refined
        if refined.chosen is not None:
            said["validation"] = _figures(refined.chosen, stage=2)
    fabric.barrier()
    if not fabric.is_global_zero:
        return TrainingResult(bundle=out / "bundle", metrics={}, minutes=stopwatch.minutes)
    alone = Fabric(accelerator=fabric.device.type, devices=1, precision="32-true")
    metrics = publish(
        fitted.network.to(alone.device),
        recipe,
        material,
        out,
        alone,
        said,
        on_stage=lambda name, total: on_stage(Stage(name=name, done=0, total=total)),
    )
    metrics["minutes"] = round(stopwatch.minutes, 1)
    _write(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    draw_curve(out)
    stopwatch.save()
    return TrainingResult(bundle=out / "bundle", metrics=metrics, minutes=stopwatch.minutes)


def _claim(out: Path, recipe: Recipe, material: Material) -> None:
    """Store the resolved recipe and the data's hash beside the products; another run's folder is not for this one."""
    content = {
        RECIPE_NAME: recipe.to_json(),
        "data.json": json.dumps(dict(material.facts), indent=2, sort_keys=True) + "\n",
    }
    words = {RECIPE_NAME: "another recipe", "data.json": "other data"}
    for name, text in content.items():
        path = out / name
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise UserError(f"{out} holds a run of {words[name]}; name another folder, or remove it to start again")
        _write(path, text)


def _figures(chosen: Validation | None, *, stage: int) -> dict[str, Any]:
    """The validation that the bundle's weights were chosen by, as it is stored."""
    if chosen is None:
        return {}
    return {
        "stage": stage,
        "epoch": chosen.epoch,
        "level": chosen.level,
        "weighted_log_loss": chosen.weighted_log_loss,
        "auc": dict(chosen.auc),
    }


def _detail(line: Progress) -> str:
    places = f", localisation {line.localisation_loss:.3f}" if line.localisation_loss else ""
    return f"loss {line.slice_loss:.4f}{places}, {line.slices_per_s:.0f} slices/s"


def _teller(on_stage: Callable[[Stage], None], name: str) -> Callable[[int, int], None]:
    return lambda done, total: on_stage(Stage(name=name, done=done, total=total))


def _silent(_stage: Stage) -> None:
    """The first process speaks for all."""


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


class _Stopwatch:
    """Wall-clock time of a run over all its starts, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = json.loads(path.read_text(encoding="utf-8"))["seconds"] if path.is_file() else 0.0
        self._start = time.perf_counter()

    @property
    def minutes(self) -> float:
        return float(self._before + time.perf_counter() - self._start) / 60

    def save(self) -> None:
        _write(self._path, json.dumps({"seconds": round(self.minutes * 60, 1)}) + "\n")
