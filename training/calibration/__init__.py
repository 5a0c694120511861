"""From logits to probabilities to calls, fitted on scans that the network has not learnt from."""

from training.calibration.prior import at_prevalence, kind_prevalence
from training.calibration.scans import Method, fit_scan_calibration, scan_probabilities
from training.calibration.slices import calibrated, fit_calibration, fit_on_top, joined, with_lines
from training.calibration.thresholds import fix_thresholds

__all__ = [
    "Method",
    "at_prevalence",
    "calibrated",
    "fit_calibration",
    "fit_on_top",
    "fit_scan_calibration",
    "fix_thresholds",
    "joined",
    "kind_prevalence",
    "scan_probabilities",
    "with_lines",
]
