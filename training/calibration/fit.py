"""One fit of everything that turns a network's answers into calls, and what it is worth on patients it has not seen.

The order matters: slices, then scans upon the slices, then thresholds upon the scans.

Shapes: N scans, C = 6 classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.domain.scan_calibration import ScanCalibration
from ichd.vision.manifest import Calibration, ThresholdSpec
from training.calibration.prior import at_prevalence
from training.calibration.scans import (
    LEAST_PATIENTS,
    Method,
    fit_scan_calibration,
    patients_of,
    scan_probabilities,
)
from training.calibration.slices import fit_on_top, with_lines
from training.calibration.thresholds import fix_thresholds
from training.measures.basic import Flags, Floats
from training.measures.calibration import brier, expected_calibration_error
from training.packed.reading import Labels, ScanReading
from training.recipe import Reading

#: The most parts that patients are dealt into; each is judged by a fit on the others.
_FOLDS = 5
_BINS = 10


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a person asks of a calibration."""

    method: Method = "platt"
    reading: Reading = field(default_factory=Reading)
    #: Of haemorrhage of any kind where the bundle will read; None: as in the scans it is fitted on.
    prevalence: float | None = None
    #: Deals the patients.
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Three layers, each fitted upon the one before."""

    #: Upon the slice calibration that the bundle had.
    lines: Mapping[str, Calibration]
    scan_calibrations: Mapping[str, ScanCalibration]
    #: Of calibrated classes; the others keep theirs.
    thresholds: Mapping[str, ThresholdSpec]


@dataclass(frozen=True, kw_only=True)
class ClassQuality:
    """One class, before and after; after: each scan by a fit on other patients."""

    positives: int
    scans: int
    ece_before: float | None
    ece_after: float | None
    brier_before: float | None
    brier_after: float | None
    #: Of scans with the class: called present; called absent. Of scans without: not called present.
    sensitivity_present: float
    missed_absent: float
    specificity_not_present: float


def fit_all(readings: Sequence[ScanReading], wish: Wish) -> Fit:
    """Fit on all readings.

    Raises:
        UserError: too few patients with, or without, haemorrhage; says how many are needed.
    """
    least = LEAST_PATIENTS[wish.method]
    bleeding, free = patients_of(readings, CLASSES.index("any"))
    if min(bleeding, free) < least:
        others = " or use --method platt, which needs fewer" if wish.method != "platt" else ""
        raise UserError(
            f"there are {bleeding} patients with haemorrhage and {free} without; {wish.method} needs {least} "
            f"of either, so label more held-out scans{others}"
        )
    return _fit(readings, wish, least=least)


def cross_validate(
    readings: Sequence[ScanReading], before: Mapping[str, ScanCalibration], fit: Fit, wish: Wish
) -> dict[str, ClassQuality]:
    """What `fit` is worth, by class that it calibrates: patients are dealt into parts, each judged by the others' fit.

    At the prevalence of the scans themselves, whatever `wish` moves it to.
    """
    p_before_NC = scan_probabilities(readings, before)
    p_after_NC = np.empty_like(p_before_NC)
    present_NC, absent_NC = np.zeros_like(p_before_NC, dtype=bool), np.zeros_like(p_before_NC, dtype=bool)
    for learn, judge in _deal(readings, wish.seed):
        part = _fit([readings[n] for n in learn], wish, least=1)
        p_NC = scan_probabilities(with_lines([readings[n] for n in judge], part.lines), part.scan_calibrations)
        p_after_NC[judge] = p_NC
        spec_C = [part.thresholds.get(name, ThresholdSpec()) for name in CLASSES]
        present_NC[judge] = p_NC >= np.array([spec.present_from for spec in spec_C])
        absent_NC[judge] = p_NC < np.array([spec.absent_below for spec in spec_C])
    truth_NC = np.array([reading.truth_C for reading in readings])
    return {
        name: _quality(truth_NC[:, c], p_before_NC[:, c], p_after_NC[:, c], present_NC[:, c], absent_NC[:, c])
        for c, name in enumerate(CLASSES)
        if name in fit.scan_calibrations
    }


def moved(fit: Fit, wish: Wish, readings: Sequence[ScanReading]) -> Fit:
    """The fit at the prevalence that is wished for; thresholds move along, so that the calls stay."""
    if wish.prevalence is None:
        return fit
    scan_calibrations = at_prevalence(fit.scan_calibrations, wish.prevalence)
    thresholds = _thresholds(with_lines(readings, fit.lines), scan_calibrations, wish)
    return Fit(lines=fit.lines, scan_calibrations=scan_calibrations, thresholds=thresholds)


def _fit(readings: Sequence[ScanReading], wish: Wish, *, least: int) -> Fit:
    lines = fit_on_top(readings)
    upon = with_lines(readings, lines)
    scan_calibrations = fit_scan_calibration(upon, method=wish.method, least=least)
    return Fit(lines=lines, scan_calibrations=scan_calibrations, thresholds=_thresholds(upon, scan_calibrations, wish))


def _thresholds(
    readings: Sequence[ScanReading], scan_calibrations: Mapping[str, ScanCalibration], wish: Wish
) -> dict[str, ThresholdSpec]:
    p_NC = scan_probabilities(readings, scan_calibrations)
    truth_NC = np.array([reading.truth_C for reading in readings])
    thresholds: dict[str, ThresholdSpec] = {}
    for name in scan_calibrations:
        known = truth_NC[:, CLASSES.index(name)] >= 0
        thresholds[name] = fix_thresholds(p_NC[known], truth_NC[known] == 1, wish.reading)[name]
    return thresholds


def _deal(readings: Sequence[ScanReading], seed: int) -> list[tuple[list[int], list[int]]]:
    patients = [reading.patient_id for reading in readings]
    bleeds = [int(reading.truth_C[0] == 1) for reading in readings]
    dealt = StratifiedGroupKFold(n_splits=_FOLDS, shuffle=True, random_state=seed).split(patients, bleeds, patients)
    return [(learn.tolist(), judge.tolist()) for learn, judge in dealt]


def _quality(truth_N: Labels, before_N: Floats, after_N: Floats, present_N: Flags, absent_N: Flags) -> ClassQuality:
    known_N = truth_N >= 0
    y_N, before_N, after_N = truth_N[known_N] == 1, before_N[known_N], after_N[known_N]
    present_N, absent_N = present_N[known_N], absent_N[known_N]
    return ClassQuality(
        positives=int(y_N.sum()),
        scans=len(y_N),
        ece_before=expected_calibration_error(before_N, y_N, bins=_BINS),
        ece_after=expected_calibration_error(after_N, y_N, bins=_BINS),
        brier_before=brier(before_N, y_N),
        brier_after=brier(after_N, y_N),
        sensitivity_present=float(present_N[y_N].mean()),
        missed_absent=float(absent_N[y_N].mean()),
        specificity_not_present=float(1 - present_N[~y_N].mean()),
    )
