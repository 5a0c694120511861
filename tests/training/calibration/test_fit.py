"""All three layers together, and what they are worth on patients they have not seen."""

from dataclasses import replace

import numpy as np
import pytest

from ichd.domain.errors import UserError
from tests.training.calibration.made import made_readings
from training.calibration.fit import Wish, cross_validate, fit_all, moved
from training.calibration.scans import scan_probabilities
from training.calibration.slices import with_lines
from training.recipe import Reading


def test_calibration_improves_what_it_has_not_seen() -> None:
    readings, wish = made_readings(400, seed=1), Wish()
    quality = cross_validate(readings, {}, fit_all(readings, wish), wish)["any"]
    assert quality.ece_before is not None
    assert quality.ece_after is not None
    assert quality.ece_after < quality.ece_before / 2
    assert quality.brier_before is not None
    assert quality.brier_after is not None
    assert quality.brier_after < quality.brier_before


def test_thresholds_keep_the_wish_on_calibrated_scans() -> None:
    readings = made_readings(600, seed=2)
    wish = Wish(reading=Reading(present_specificity=0.95, absent_sensitivity=0.9))
    fit = fit_all(readings, wish)
    p_N = scan_probabilities(with_lines(readings, fit.lines), fit.scan_calibrations)[:, 0]
    y_N = np.array([r.truth_C[0] == 1 for r in readings])
    assert (p_N[~y_N] >= fit.thresholds["any"].present_from).mean() <= 0.06
    assert (p_N[y_N] < fit.thresholds["any"].absent_below).mean() <= 0.11
    quality = cross_validate(readings, {}, fit, wish)["any"]
    assert quality.specificity_not_present == pytest.approx(0.95, abs=0.04)


def test_another_prevalence_calls_the_same_scans() -> None:
    readings, wish = made_readings(400, seed=3), Wish(prevalence=0.05)
    fit = fit_all(readings, wish)
    there = moved(fit, wish, readings)
    upon = with_lines(readings, fit.lines)
    here_N = scan_probabilities(upon, fit.scan_calibrations)[:, 0] >= fit.thresholds["any"].present_from
    there_N = scan_probabilities(upon, there.scan_calibrations)[:, 0] >= there.thresholds["any"].present_from
    assert (here_N != there_N).sum() <= 1
    here, far = (scan_probabilities(upon, one.scan_calibrations)[:, 0] for one in (fit, there))
    assert (far < here).all()


def test_too_few_patients_are_counted_and_the_need_is_named() -> None:
    readings = made_readings(24, seed=4)
    with pytest.raises(UserError, match=r"patients with haemorrhage and \d+ without; platt needs 20"):
        fit_all(readings, Wish())


def test_a_rare_kind_is_left_as_it_was() -> None:
    readings = [
        replace(r, truth_C=np.array([*r.truth_C[:5], int(n < 3)], dtype=np.int8))
        for n, r in enumerate(made_readings(200, seed=5))
    ]
    fit = fit_all(readings, Wish())
    assert "epidural" not in fit.scan_calibrations
    assert "epidural" not in fit.thresholds
