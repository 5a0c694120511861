"""Platt scaling of slices.

Shapes: N slices, S slices of a scan, C = 6 classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression

from ichd.domain.finding import CLASSES
from ichd.vision.manifest import Calibration
from training.measures.basic import Flags, Floats, expit, logit
from training.packed.reading import ScanReading

#: A calibration may soften or sharpen, never turn a class upside down; a slope outside this range is no calibration.
_SLOPES = (0.05, 20.0)


def fit_calibration(logits_NC: Floats, y_NC: Flags, known_NC: Flags | None = None) -> dict[str, Calibration]:
    """Platt scaling of each class on slices; a class without both answers is left as it is.

    So is one whose truth is not known of some slice. Data that are labelled by scan know it of bleed-free scans alone,
    and a fit on those would say that nobody bleeds.
    """
    fitted: dict[str, Calibration] = {}
    for c, name in enumerate(CLASSES):
        unknown = known_NC is not None and not known_NC[:, c].all()
        if unknown or y_NC[:, c].all() or not y_NC[:, c].any():
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
    return expit(logits_NC * scale + bias)


def fit_on_top(readings: Sequence[ScanReading]) -> dict[str, Calibration]:
    """A line a class upon what the bundle's own calibration gave."""
    truth_NC = np.concatenate([reading.truth_SC for reading in readings])
    return fit_calibration(logit(np.concatenate([reading.p_SC for reading in readings])), truth_NC == 1, truth_NC >= 0)


def with_lines(readings: Sequence[ScanReading], lines: Mapping[str, Calibration]) -> list[ScanReading]:
    """The readings as a bundle that has these lines on top would give them."""
    return [replace(reading, p_SC=calibrated(logit(reading.p_SC), lines)) for reading in readings]


def joined(first: Mapping[str, Calibration], second: Mapping[str, Calibration]) -> dict[str, Calibration]:
    """One line of two: a line upon a line is a line."""
    return {
        name: _upon(first.get(name, Calibration()), second.get(name, Calibration()))
        for name in CLASSES
        if name in first or name in second
    }


def _upon(first: Calibration, second: Calibration) -> Calibration:
    return Calibration(scale=second.scale * first.scale, bias=second.scale * first.bias + second.bias)
