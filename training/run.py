"""One training run from recipe to bundle: render, fit, calibrate, export, measure; each resumes where it stopped."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ichd.domain.errors import UserError
from ichd.vision.bundle import Bundle, load_bundle, save_bundle
from ichd.vision.manifest import Calibration, Manifest, ThresholdSpec, WeightsSpec
from ichd.vision.network import CnnLstm
from ichd.vision.starting_point import load_starting_point
from training.calibrate import fit_calibration, fix_thresholds
from training.evaluate import measure, read_phantoms
from training.loop import StepReport, fit
from training.recipe import Recipe, load_recipe
from training.synthetic import generate, load_split, phantom_digest

#: Versions that decide what a run's numbers are.
_PACKAGES = ("ichd", "torch", "timm", "numpy", "scipy", "scikit-learn", "lightning-fabric")
_SPENT = "spent.json"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far one stage of a run is."""

    #: "phantoms", "training", "calibration" or "measurement".
    stage: str
    done: int
    total: int
    #: For people: losses and speed while training.
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """Where the run's products lie, and how good the bundle is on the held-out phantoms."""

    bundle: Path
    metrics: Mapping[str, Any]
    #: Wall-clock time of all stages, over all starts of this run.
    minutes: float


def train(
    recipe_name_or_path: str,
    out: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    phantoms: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
) -> TrainingResult:
    """Train what the recipe describes; ends with `out/bundle` and `out/metrics.json`.

    A run that was killed goes on when it is started again with the same arguments. `phantoms` is the folder of the
    rendered training data, `out/phantoms` by default; recipes with the same [data], [input] and seed can share it.

    Raises:
        UserError: the recipe can't be followed, or `out` holds a run of another recipe.
    """
    recipe = load_recipe(recipe_name_or_path, overrides)
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, recipe)
    # At the start: the checkout may move on while a run goes on, and a missing starting point is known at once.
    circumstances = _circumstances(recipe)
    stopwatch = _Stopwatch(out / _SPENT)
    cache = phantoms or out / "phantoms"

    def rendered(done: int, total: int) -> None:
        on_progress(Progress(stage="phantoms", done=done, total=total))

    def stepped(report: StepReport) -> None:
        stopwatch.save()
        with (out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(report)) + "\n")
        detail = (
            f"slice loss {report.slice_loss:.3f}, localisation {report.localisation_loss:.3f}, "
            f"{report.slices_per_s:.0f} slices/s"
        )
        on_progress(Progress(stage="training", done=report.step, total=report.steps, detail=detail))

    generate(recipe, cache, on_progress=rendered)
    stopwatch.save()
    network = fit(recipe, load_split(cache, "train", recipe.data), out, on_step=stepped)

    held_out = load_split(cache, "calibration", recipe.data)
    on_progress(Progress(stage="calibration", done=0, total=len(held_out)))
    readings = read_phantoms(network, held_out, recipe.input)
    calibration = fit_calibration(readings.slice_logits, readings.slice_truth)
    thresholds = fix_thresholds(readings.scan_probabilities(calibration), readings.scan_truth, recipe.reading)

    test = load_split(cache, "test", recipe.data)
    on_progress(Progress(stage="measurement", done=0, total=len(test)))
    # Measured as shipped: the weights as they are stored, not as they were trained.
    draft = _export(network, recipe, out / "bundle", calibration, thresholds, metrics={})
    shipped = draft.network()
    metrics: dict[str, Any] = {
        "held_out_phantoms": measure(read_phantoms(shipped, test, recipe.input), calibration, thresholds)
    }
    bundle = _export(network, recipe, out / "bundle", calibration, thresholds, metrics=_flat(metrics))
    stopwatch.save()
    metrics |= {
        "model": {"name": recipe.name, "weights_sha256": bundle.manifest.weights.sha256},
        "minutes": round(stopwatch.minutes, 1),
        "run": circumstances,
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return TrainingResult(bundle=out / "bundle", metrics=metrics, minutes=stopwatch.minutes)


def _claim(out: Path, recipe: Recipe) -> None:
    """Store the resolved recipe beside its products; another run's folder is not for this one."""
    path = out / "recipe.json"
    if path.is_file() and path.read_text(encoding="utf-8") != recipe.to_json():
        raise UserError(f"{out} holds a run of another recipe; name another folder, or remove it to start again")
    path.write_text(recipe.to_json(), encoding="utf-8")


def _export(
    network: CnnLstm,
    recipe: Recipe,
    folder: Path,
    calibration: Mapping[str, Calibration],
    thresholds: Mapping[str, ThresholdSpec],
    *,
    metrics: dict[str, Any],
) -> Bundle:
    publication = recipe.publication
    manifest = Manifest(
        name=recipe.name,
        version=publication.version,
        architecture="cnn-lstm" if recipe.network.recurrent else "cnn",
        network=recipe.network,
        input=recipe.input,
        calibration=dict(calibration),
        thresholds=dict(thresholds),
        intended_use=publication.intended_use,
        training_data=publication.training_data,
        metrics=metrics,
        licence=publication.licence,
        statement=publication.statement,
        demonstration=publication.demonstration,
        least_precision=publication.least_precision,
        weights=WeightsSpec(storage=publication.storage),
    )
    save_bundle(folder, manifest, network.state_dict())
    return load_bundle(folder)


def _flat(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest holds figures one level deep: {"held_out_phantoms.auc_scan": {"any": ...}, ...}."""
    flat: dict[str, Any] = {}
    for data, figures in metrics.items():
        for name, value in figures.items():
            rounded = {k: _rounded(v) for k, v in value.items()} if isinstance(value, dict) else _rounded(value)
            flat[f"{data}.{name}"] = rounded
    return flat


def _rounded(value: float | None) -> float | int | None:
    return round(value, 4) if isinstance(value, float) else value


def _circumstances(recipe: Recipe) -> dict[str, Any]:
    """What, beside the recipe, decides the result."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "seed": recipe.seed,
        "init_source_sha256": load_starting_point(Path(recipe.init)).source_sha256 if recipe.init else None,
        "git_revision": _git_revision(),
        "phantom_sha256": phantom_digest(),
        "packages": versions,
        "threads": recipe.optimisation.threads,
        "processor": torch.backends.cpu.get_cpu_capability(),
    }


def _git_revision() -> str | None:
    """Revision of the checkout that this file is part of, "-dirty" if it was changed; None in an installed package."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


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
        self._path.write_text(json.dumps({"seconds": round(self.minutes * 60, 1)}) + "\n", encoding="utf-8")
