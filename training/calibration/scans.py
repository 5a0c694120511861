"""Scan-level calibration: Platt or isotonic, robust to the number of slices.

`ichd.domain.scan_calibration` says what is fitted, and why this. Growth is fitted together with Platt's line, by
logistic regression on (logit of the highest slice, log(slices / 30)), with the weight of the latter held between -1
(slices know nothing of each other) and 0 (one slice says it all): outside of it, the fit would learn which scanners
have the sicker patients. The isotonic curve runs through the middles of the blocks of a monotone regression on the
score that comes of it (centred isotonic regression: Oron and Flournoy, Stat. Biopharm. Res. 9 (2017) 258), so that it
has no steps on which scans of different suspicion are called alike.

Shapes: N scans, C = 6 classes.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from ichd.domain.finding import CLASSES
from ichd.domain.scan_calibration import REFERENCE_SLICES, ScanCalibration, scan_score
from training.measures.basic import Flags, Floats
from training.packed.reading import ScanReading

Method = Literal["platt", "isotonic"]
METHODS: tuple[Method, ...] = ("platt", "isotonic")

#: Patients with, and patients without the class that a fit needs: Platt has three numbers, a curve has many.
LEAST_PATIENTS: Mapping[Method, int] = {"platt": 20, "isotonic": 100}

#: A calibration may soften or sharpen, never turn a class upside down; a slope at its end is no calibration.
_SLOPES = (0.05, 20.0)


def fit_scan_calibration(
    readings: Sequence[ScanReading], *, method: Method = "platt", least: int | None = None
) -> dict[str, ScanCalibration]:
    """Fit each class on the scans whose truth is known.

    A class is left out where fewer than `least` patients (by default as many as the method needs) have it, or have it
    not.
    """
    highest_NC = np.array([reading.p_C for reading in readings])
    slices_N = np.array([reading.slices_read for reading in readings])
    fitted: dict[str, ScanCalibration] = {}
    for c, name in enumerate(CLASSES):
        known = [n for n, reading in enumerate(readings) if reading.truth_C[c] >= 0]
        if min(patients_of(readings, c)) < (LEAST_PATIENTS[method] if least is None else least):
            continue
        y_N = np.array([readings[n].truth_C[c] == 1 for n in known])
        fitted[name] = _fit(
            highest_NC[known, c], slices_N[known], y_N, method, patients=len({readings[n].patient_id for n in known})
        )
    return fitted


def patients_of(readings: Sequence[ScanReading], c: int) -> tuple[int, int]:
    """How many patients have class number `c` on a scan, and how many are without on one."""
    counted = [len({r.patient_id for r in readings if r.truth_C[c] == truth}) for truth in (1, 0)]
    return counted[0], counted[1]


def scan_probabilities(readings: Sequence[ScanReading], calibrations: Mapping[str, ScanCalibration]) -> Floats:
    """[N, C], as `conclude` has them: of the highest slice where a class is not calibrated."""
    p_NC = np.array([reading.p_C for reading in readings])
    for name, calibration in calibrations.items():
        c = CLASSES.index(name)
        p_NC[:, c] = [calibration.probability(p_NC[n, c], reading.slices_read) for n, reading in enumerate(readings)]
    return p_NC


def _fit(highest_N: Floats, slices_N: Floats, y_N: Flags, method: Method, *, patients: int) -> ScanCalibration:
    scale, weight, bias = _line(highest_N, slices_N, y_N)
    growth = weight / scale
    knots = _curve(np.array([scan_score(*one, growth) for one in zip(highest_N, slices_N, strict=True)]), y_N)
    return ScanCalibration(
        growth=growth,
        scale=scale,
        bias=bias,
        knots=knots if method == "isotonic" else (),
        scans=len(y_N),
        patients=patients,
        prevalence=float(y_N.mean()),
    )


def _line(highest_N: Floats, slices_N: Floats, y_N: Flags) -> tuple[float, float, float]:
    """Scale, weight of the number of slices, and bias, of the highest likelihood.

    The targets are Platt's, a little inside of 0 and 1, so that classes that lie apart do not make an infinite slope.
    """
    logits_N = np.array([scan_score(highest, REFERENCE_SLICES, 0.0) for highest in highest_N])
    more_N = np.log(slices_N / REFERENCE_SLICES)
    positives, negatives = int(y_N.sum()), int((~y_N).sum())
    target_N = np.where(y_N, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(line: Floats) -> tuple[float, Floats]:
        scale, weight, bias = line
        odds_N = scale * logits_N - weight * more_N + bias
        off_N = 0.5 * (1 + np.tanh(odds_N / 2)) - target_N
        slope = np.array([off_N @ logits_N, -(off_N @ more_N), off_N.sum()])
        return float(np.logaddexp(0, odds_N).sum() - target_N @ odds_N) / len(y_N), slope / len(y_N)

    start = np.array([1.0, 0.0, 0.0])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[_SLOPES, (0.0, 1.0), (None, None)])
    scale, weight, bias = map(float, found.x)
    return scale, weight, bias


def _curve(score_N: Floats, y_N: Flags) -> tuple[tuple[float, float], ...]:
    """Middles of the blocks of a monotone regression; each block counts half a scan of either answer beside its own."""
    order = np.argsort(score_N, kind="stable")
    scores, level = score_N[order], IsotonicRegression().fit_transform(score_N[order], y_N[order].astype(float))
    blocks = np.split(np.arange(len(scores)), np.flatnonzero(np.diff(level)) + 1)
    middles = np.array([scores[block].mean() for block in blocks])
    shares = np.array([(y_N[order][block].sum() + 0.5) / (len(block) + 1) for block in blocks])
    # The half scans may turn two neighbours round: the regression again, each block with its weight.
    shares = IsotonicRegression().fit_transform(middles, shares, sample_weight=[len(block) for block in blocks])
    return tuple(zip(middles.tolist(), shares.tolist(), strict=True))
