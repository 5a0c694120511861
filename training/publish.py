"""From a trained network to a bundle that says what it is and how good, and what it was made of."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from ichd.vision.bundle import Bundle, load_bundle, save_bundle
from ichd.vision.manifest import Calibration, Manifest, ThresholdSpec, WeightsSpec
from ichd.vision.network import CnnLstm
from training.calibration import fit_calibration, fix_thresholds
from training.evaluation.phantoms import measure
from training.material import Material
from training.reading import read
from training.recipe import Recipe
from training.words import words_of


def publish(
    network: CnnLstm,
    recipe: Recipe,
    material: Material,
    out: Path,
    fabric: Fabric,
    said: Mapping[str, Any],
    *,
    on_stage: Callable[[str, int], None],
) -> dict[str, Any]:
    """Calibrate, export to `out/bundle`, and measure what was exported; returns the figures.

    `recipe.json` and `run.json` lie in the bundle as well: who has nothing else can tell what it was made of.
    """
    folder = out / "bundle"
    calibration: dict[str, Calibration] = {}
    thresholds: dict[str, ThresholdSpec] = {}
    if material.calibrate is not None:
        on_stage("calibration", len(material.calibrate))
        readings = read(network, material.calibrate, recipe, fabric)
        if recipe.reading.calibrate:
            calibration = fit_calibration(readings.slice_logits, readings.slice_truth, readings.slice_known)
        thresholds = fix_thresholds(
            readings.scan_probabilities(calibration), readings.scan_truth, recipe.reading, known_NC=readings.scan_known
        )

    def export(metrics: dict[str, Any]) -> Bundle:
        manifest = _manifest(recipe, material, calibration, thresholds, metrics)
        save_bundle(folder, manifest, network.state_dict())
        return load_bundle(folder)

    run = dict(said)
    metrics: dict[str, Any] = {"validation": run.pop("validation", {}), "run": run}
    if material.measure is not None:
        on_stage("measurement", len(material.measure))
        # Measured as shipped: the weights as they are stored, not as they were trained.
        draft = export({})
        shipped = draft.network().to(fabric.device)
        metrics["held_out_phantoms"] = measure(read(shipped, material.measure, recipe, fabric), calibration, thresholds)
    bundle = export(_flat(metrics))
    for name, text in (("recipe.json", recipe.to_json()), ("run.json", json.dumps(dict(said), indent=2) + "\n")):
        (folder / name).write_text(text, encoding="utf-8")
    metrics["model"] = {"name": recipe.name, "weights_sha256": bundle.manifest.weights.sha256}
    return metrics


def _manifest(
    recipe: Recipe,
    material: Material,
    calibration: Mapping[str, Calibration],
    thresholds: Mapping[str, ThresholdSpec],
    metrics: dict[str, Any],
) -> Manifest:
    publication, words = recipe.publication, words_of(recipe, material.facts)
    return Manifest(
        name=recipe.name,
        version=publication.version,
        architecture="cnn-lstm" if recipe.network.recurrent else "cnn",
        network=recipe.network,
        input=recipe.input,
        calibration=dict(calibration),
        thresholds=dict(thresholds),
        intended_use=publication.intended_use,
        training_data=words.training_data,
        metrics=metrics,
        licence=publication.licence,
        statement=words.statement,
        demonstration=words.demonstration,
        least_precision=publication.least_precision,
        weights=WeightsSpec(storage=publication.storage),
    )


def _flat(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest holds figures one level deep: {"held_out_phantoms.auc_scan": {"any": ...}, ...}."""
    flat: dict[str, Any] = {}
    for data, figures in metrics.items():
        for name, value in figures.items():
            if isinstance(value, dict):
                flat[f"{data}.{name}"] = {k: _rounded(v) for k, v in value.items() if not isinstance(v, dict)}
            else:
                flat[f"{data}.{name}"] = _rounded(value)
    return flat


def _rounded(value: float | str | None) -> float | int | str | None:
    return round(value, 4) if isinstance(value, float) else value
