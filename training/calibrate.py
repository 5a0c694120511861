"""From logits to probabilities to calls, fitted on scans that the network has not learnt from.

Shapes: N slices or scans, C = 6 classes.
"""

from collections.abc import Mapping

import numpy as np
from sklearn.linear_model import LogisticRegression

from ichd.domain.finding import CLASSES
from ichd.vision.manifest import Calibration, ThresholdSpec
from training.metrics import Flags, Floats
from training.recipe import Reading

#: A calibration may soften or sharpen, never turn a class upside down; a slope outside this range is no calibration.
_SLOPES = (0.05, 20.0)


def fit_calibration(logits_NC: Floats, y_NC: Flags) -> dict[str, Calibration]:
    """Platt scaling of each class on slices; a class without both answers is left as it is."""
    fitted: dict[str, Calibration] = {}
    for c, name in enumerate(CLASSES):
        if y_NC[:, c].all() or not y_NC[:, c].any():
            continue
        line = LogisticRegression(C=1e4).fit(logits_NC[:, c : c + 1], y_NC[:, c])
        scale, bias = float(line.coef_[0, 0]), float(line.intercept_[0])
        if _SLOPES[0] < scale < _SLOPES[1]:
            fitted[name] = Calibration(scale=scale, bias=bias)
    return fitted


def calibrated(logits_NC: Floats, calibration: Mapping[str, Calibration]) -> Floats:
    """Probabilities, as the engine computes them from a bundle."""
    lines = [calibration.get(name, Calibration()) for name in CLASSES]
    scale = np.array([line.scale for line in lines])
    bias = np.array([line.bias for line in lines])
    return np.asarray(1 / (1 + np.exp(-(logits_NC * scale + bias))))


def fix_thresholds(p_NC: Floats, y_NC: Flags, reading: Reading) -> dict[str, ThresholdSpec]:
    """Scan-level thresholds by class; a class without both answers keeps the defaults.

    Two probabilities matter: the one that `present_specificity` of the scans without the class stay below, and the one
    that `absent_sensitivity` of the scans with it reach. Where the classes overlap, what lies between the two is
    undetermined. Where they do not, those two say nothing about scans unlike any seen, and a zone as wide as the gap
    would swallow them: the line is drawn through the middle, with `least_doubt` (in logits) on either side.
    """
    thresholds: dict[str, ThresholdSpec] = {}
    logits_NC = _logit(p_NC)
    for c, name in enumerate(CLASSES):
        with_it, without = logits_NC[y_NC[:, c], c], logits_NC[~y_NC[:, c], c]
        if not len(with_it) or not len(without):
            continue
        specific = float(np.quantile(without, reading.present_specificity))
        sensitive = float(np.quantile(with_it, 1 - reading.absent_sensitivity))
        middle, doubt = (specific + sensitive) / 2, max((specific - sensitive) / 2, reading.least_doubt)
        # In logits to the end: a sure model's thresholds would round to 0 and 1, which no probability passes.
        thresholds[name] = ThresholdSpec(present_from=_expit(middle + doubt), absent_below=_expit(middle - doubt))
    return thresholds


def _logit(p: Floats) -> Floats:
    inside = np.clip(p, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _expit(logit: float) -> float:
    return float(0.5 * (1 + np.tanh(logit / 2)))
