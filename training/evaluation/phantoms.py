"""A network or a bundle in front of scans that it has not learnt from.

Shapes: S slices, G the model's grid, C = 6 classes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ichd.domain.finding import CLASSES, Presence, conclude
from ichd.vision.bundle import Bundle
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.manifest import Calibration, ThresholdSpec
from ichd.vision.reader import Reader
from ichd.vision.scan import SliceSource, load_scan
from training.measures.basic import Flags, auc_by_class, weighted_log_loss
from training.reading import Readings


def measure(
    readings: Readings, calibration: Mapping[str, Calibration], thresholds: Mapping[str, ThresholdSpec]
) -> dict[str, Any]:
    """AUC by class a slice and a scan, weighted log loss, and what the thresholds make of the scans."""
    p_slices, p_scans = readings.slice_probabilities(calibration), readings.scan_probabilities(calibration)
    any_from = thresholds.get("any", ThresholdSpec()).present_from
    any_below = thresholds.get("any", ThresholdSpec()).absent_below
    truth, p_any = readings.scan_truth[:, 0], p_scans[:, 0]
    return {
        "scans": len(readings.truth_SC),
        "slices": len(p_slices),
        "scans_with_bleed": int(truth.sum()),
        "auc_slice": auc_by_class(p_slices, readings.slice_truth),
        "auc_scan": auc_by_class(p_scans, readings.scan_truth),
        "weighted_log_loss_slice": weighted_log_loss(p_slices, readings.slice_truth),
        "any_scan_calls": {
            "sensitivity_present": _share(p_any[truth] >= any_from),
            "missed_absent": _share(p_any[truth] < any_below),
            "specificity_not_present": _share(p_any[~truth] < any_from),
            "bleed_free_absent": _share(p_any[~truth] < any_below),
        },
    }


def score_files(bundle: Bundle, files: Sequence[Path]) -> dict[str, Any]:
    """What a bundle says about a DICOM series: scan level by class, its calls, and `any` by slice.

    Raises:
        NotAnalysable: the files are no series that can be read.
    """
    prediction = Reader(EagerEngine(bundle, device="cpu")).read(load_scan([SliceSource(path=file) for file in files]))
    finding = conclude(prediction, bundle.rule)
    return {
        "slices": len(prediction.slices),
        "scan": finding.scan,
        "present": [c.name for c in finding.classes if c.presence is Presence.PRESENT],
        "undetermined": [c.name for c in finding.classes if c.presence is Presence.UNDETERMINED],
        "triage": str(finding.triage),
        "any_by_slice": [s.probabilities[CLASSES.index("any")] for s in prediction.slices],
    }


def _share(flags: Flags) -> float | None:
    return float(flags.mean()) if len(flags) else None
