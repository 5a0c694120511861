"""Scan-level calibration on simulated heads of 12 to 120 slices."""

from dataclasses import replace

import numpy as np
import pytest

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES, ReadingRule, conclude
from ichd.domain.scan_calibration import ScanCalibration
from tests.domain.test_finding import prediction
from tests.training.calibration.made import made_readings
from training.calibration import (
    Method,
    at_prevalence,
    fit_on_top,
    fit_scan_calibration,
    joined,
    scan_probabilities,
    with_lines,
)
from training.measures.calibration import expected_calibration_error
from training.packed.reading import ScanReading

KIND = CLASSES.index("subdural")
TRUE = ScanCalibration(growth=0.5, scale=0.8, bias=-0.7, scans=1, patients=1, prevalence=0.5)


def answered(scans: int, truth: ScanCalibration) -> list[ScanReading]:
    """Scans whose truth is drawn by a calibration that is known."""
    rng = np.random.default_rng(3)
    readings = []
    for reading in made_readings(scans, seed=4):
        p_C = np.array([truth.probability(p, len(reading.z_mm)) for p in reading.p_C])
        readings.append(replace(reading, truth_C=(rng.random(len(CLASSES)) < p_C).astype(np.int8)))
    return readings


def test_the_fit_finds_the_calibration_that_made_the_truth() -> None:
    fitted = fit_scan_calibration(answered(4000, TRUE))
    for name in CLASSES[1:]:
        assert fitted[name].scale == pytest.approx(TRUE.scale, abs=0.12)
        assert fitted[name].growth == pytest.approx(TRUE.growth, abs=0.2)
        assert fitted[name].bias == pytest.approx(TRUE.bias, abs=0.2)
        assert (fitted[name].scans, fitted[name].patients) == (4000, 2000)


def test_a_growth_that_is_none_of_the_slices_doing_is_not_learnt() -> None:
    """Where long scans are of sicker patients, the free fit would be negative."""
    sicker = answered(1500, replace(TRUE, growth=0.0))
    sicker = [r for r in sicker if r.truth_C[KIND] == (len(r.z_mm) > 40) or len(r.z_mm) % 3 == 0]
    fitted = fit_scan_calibration(sicker)["subdural"]
    assert fitted.growth == 0.0


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_probabilities_come_true_for_few_slices_and_for_many(method: Method) -> None:
    learn, judge = made_readings(1500, seed=1), made_readings(1500, seed=2)
    lines = fit_on_top(learn)
    learn, judge = with_lines(learn, lines), with_lines(judge, lines)
    p_N = scan_probabilities(judge, fit_scan_calibration(learn, method=method))[:, KIND]
    before_N = scan_probabilities(judge, {})[:, KIND]
    y_N = np.array([r.truth_C[KIND] == 1 for r in judge])
    slices_N = np.array([len(r.z_mm) for r in judge])
    for chosen in (slices_N < 24, slices_N > 60, slices_N > 0):
        after = expected_calibration_error(p_N[chosen], y_N[chosen], bins=5)
        before = expected_calibration_error(before_N[chosen], y_N[chosen], bins=5)
        assert after is not None
        assert before is not None
        assert after < 0.06 < before


def test_the_isotonic_curve_never_falls_and_is_never_sure() -> None:
    knots = fit_scan_calibration(made_readings(600, seed=5), method="isotonic")["subdural"].knots
    scores, shares = zip(*knots, strict=True)
    assert list(scores) == sorted(set(scores))
    assert list(shares) == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1


def test_it_is_what_the_daemon_concludes() -> None:
    readings = made_readings(60, seed=6)
    fitted = fit_scan_calibration(readings, least=1)
    p_NC = scan_probabilities(readings, fitted)
    for n in range(5):
        finding = conclude(
            prediction(*(tuple(row) for row in readings[n].p_SC.tolist())), ReadingRule(scan_calibrations=fitted)
        )
        assert list(finding.scan.values()) == p_NC[n].tolist()


def test_unknown_truths_are_not_learnt_from() -> None:
    readings = made_readings(200, seed=7)
    half = [replace(r, truth_C=np.where(n % 2, r.truth_C, -1).astype(np.int8)) for n, r in enumerate(readings)]
    assert fit_scan_calibration(half, least=5)["any"].scans == 100


def test_scans_that_are_labelled_as_a_whole_change_no_slice() -> None:
    readings = [
        replace(r, truth_SC=np.where(r.truth_SC == 1, -1, 0).astype(np.int8)) for r in made_readings(80, seed=8)
    ]
    assert fit_on_top(readings) == {}


def test_a_line_upon_a_line_is_a_line() -> None:
    readings = made_readings(200, seed=9)
    first = fit_on_top(readings)
    second = fit_on_top(with_lines(readings, first))
    at_once, one_by_one = (
        with_lines(readings, joined(first, second)),
        with_lines(with_lines(readings, first), second),
    )
    np.testing.assert_allclose(at_once[0].p_SC, one_by_one[0].p_SC, atol=1e-9)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_prevalence_moves_the_odds_of_all_by_one_factor(method: Method) -> None:
    fitted = fit_scan_calibration(made_readings(600, seed=10), method=method)
    moved = at_prevalence(fitted, 0.05)
    for name, calibration in fitted.items():
        wanted = 0.05 * min(1.0, calibration.prevalence / fitted["any"].prevalence)
        assert moved[name].site_prevalence == wanted
        factor = (wanted / (1 - wanted)) / (calibration.prevalence / (1 - calibration.prevalence))
        x0 = calibration.knots[0][0] if calibration.knots else 0.0
        p = 1 / (1 + np.exp(-x0))
        before, after = calibration.probability(p, 30), moved[name].probability(p, 30)
        if not calibration.knots or calibration.growth == 0:
            assert after / (1 - after) == pytest.approx(factor * before / (1 - before), rel=1e-6)


@pytest.mark.parametrize("prevalence", [0.0, 1.0, 5.0, -0.1])
def test_a_prevalence_is_a_share(prevalence: float) -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        at_prevalence(fit_scan_calibration(made_readings(100, seed=11)), prevalence)
