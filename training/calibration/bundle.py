"""A bundle calibrated on held-out scans becomes another bundle: the same weights, other numbers around them."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.bundle import load_bundle
from ichd.vision.engines.choice import EngineWish, open_engine
from ichd.vision.manifest import MANIFEST_NAME, Manifest, ScanCalibrationSpec
from training.calibration.fit import ClassQuality, Fit, Wish, cross_validate, fit_all, moved
from training.calibration.slices import joined
from training.cases.index import Split
from training.packed.dataset import PackedData
from training.packed.reading import read_studies

#: Figures of the thresholds that a calibration replaces.
_OUTDATED = ".any_scan_calls"
#: What the statement of imported weights says, and would no longer be true.
_NO_LONGER = ", uncalibrated"


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What came of it."""

    manifest: Manifest
    #: By calibrated class.
    quality: Mapping[str, ClassQuality]
    #: Classes that too few patients have: they stay as they were.
    left: tuple[str, ...]
    scans: int
    patients: int
    #: The scans also chose the epoch of the training: the figures flatter a little.
    chosen_on: bool


def calibrate_bundle(
    source: Path,
    data: PackedData,
    split: Split,
    wish: Wish,
    out: Path,
    *,
    device: str = "auto",
    on_scan: Callable[[int, int], None] = lambda _done, _all: None,
) -> Calibrated:
    """Read a split with the bundle in `source`, fit, and write the bundle `out`, whole or not at all.

    Raises:
        UserError: `out` is there already or can't be written; the bundle learnt from these scans; too few patients with
            or without haemorrhage; the data are damaged.
        Permanent: MODEL_UNUSABLE, the bundle is none.
    """
    if out.exists():
        raise UserError(f"{out} is there already; name another, for a bundle is never overwritten")
    bundle = load_bundle(source)
    refuse_learnt(bundle.manifest, data, split)
    studies = data.split(split)
    engine = open_engine(bundle, EngineWish(device=device))
    engine.warm_up()
    readings = list(read_studies(engine, studies, on_scan=on_scan))
    fit = fit_all(readings, wish)
    quality = cross_validate(readings, bundle.rule.scan_calibrations, fit, wish)
    patients = len({reading.patient_id for reading in readings})
    facts = {
        "method": wish.method,
        "split": split,
        "data_sha256": data.data_sha256,
        "scans": len(readings),
        "patients": patients,
        "prevalence": fit.scan_calibrations[CLASSES[0]].prevalence,
        "site_prevalence": wish.prevalence,
        "present_specificity": wish.reading.present_specificity,
        "absent_sensitivity": wish.reading.absent_sensitivity,
        "from_bundle_sha256": bundle.identity.bundle_sha256,
    }
    manifest = _manifest(bundle.manifest, moved(fit, wish, readings), quality, facts)
    _write(source, manifest, out)
    return Calibrated(
        manifest=manifest,
        quality=quality,
        left=tuple(name for name in CLASSES if name not in fit.scan_calibrations),
        scans=len(readings),
        patients=patients,
        chosen_on=_learnt(bundle.manifest) == data.data_sha256,
    )


def refuse_learnt(manifest: Manifest, data: PackedData, split: Split) -> None:
    """Refuse the scans that the network has learnt from: it is sure of those, and its calibration would be, too.

    Raises:
        UserError: the split is "train", and the bundle learnt from these data or does not say from which.
    """
    if split != "train":
        return
    learnt = _learnt(manifest)
    if learnt is not None and learnt != data.data_sha256:
        return
    why = f"{manifest.name} learnt from them" if learnt else f"{manifest.name} does not say which data it learnt from"
    raise UserError(f"the scans of split train can't be calibrated on ({why}); give --split valid or test")


def _learnt(manifest: Manifest) -> str | None:
    """sha256 of the data that a bundle says it learnt from."""
    data = manifest.metrics.get("run.data")
    told = data.get("data_sha256") if isinstance(data, dict) else None
    return told if isinstance(told, str) else None


def _manifest(before: Manifest, fit: Fit, quality: Mapping[str, ClassQuality], facts: Mapping[str, Any]) -> Manifest:
    figures: dict[str, Any] = {f"scan_calibration.{key}": value for key, value in facts.items()}
    for figure in asdict(next(iter(quality.values()))):
        by_class = {name: getattr(one, figure) for name, one in quality.items()}
        figures[f"scan_calibration.{figure}"] = {
            k: round(v, 4) if isinstance(v, float) else v for k, v in by_class.items()
        }
    kept = {name: value for name, value in before.metrics.items() if not name.endswith(_OUTDATED)}
    after = before.model_copy(
        update={
            "calibration": joined(before.calibration, fit.lines),
            "scan_calibration": {k: ScanCalibrationSpec(**asdict(v)) for k, v in fit.scan_calibrations.items()},
            "thresholds": before.thresholds | dict(fit.thresholds),
            "metrics": {k: v for k, v in kept.items() if not k.startswith("scan_calibration.")} | figures,
            "statement": before.statement.replace(_NO_LONGER, ""),
        }
    )
    # As whoever opens the bundle will read it: a copy is not checked.
    return Manifest.model_validate_json(after.to_json())


def _write(source: Path, manifest: Manifest, out: Path) -> None:
    partial = out.with_name(out.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial)
        (partial / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
        partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(
            f"{out} can't be written ({error.strerror or error}); make room or name another place"
        ) from error
