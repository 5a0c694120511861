"""Figures against scikit-learn and against arithmetic by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from ichd.domain.finding import CLASSES
from training.calibration import calibrated, fit_calibration, fix_thresholds
from training.measures.basic import METRIC_WEIGHTS, auc, auc_by_class, scan_level, weighted_log_loss
from training.recipe import Reading


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_log_loss_is_the_weighted_mean_of_scikit_learns(rng: np.random.Generator) -> None:
    p, y = rng.uniform(0.01, 0.99, (200, 6)), rng.random((200, 6)) < 0.3
    by_class = [log_loss(y[:, c], p[:, c]) for c in range(6)]
    expected = sum(w * loss for w, loss in zip(METRIC_WEIGHTS, by_class, strict=True))
    assert weighted_log_loss(p, y) == pytest.approx(expected)


def test_a_constant_half_scores_the_logarithm_of_two() -> None:
    assert weighted_log_loss(np.full((10, 6), 0.5), np.zeros((10, 6), dtype=bool)) == pytest.approx(math.log(2))


def test_one_sure_mistake_stays_finite() -> None:
    assert math.isfinite(weighted_log_loss(np.zeros((1, 6)), np.ones((1, 6), dtype=bool)))


def test_auc_by_class_is_scikit_learns(rng: np.random.Generator) -> None:
    p, y = rng.random((300, 6)), rng.random((300, 6)) < 0.4
    figures = auc_by_class(p, y)
    assert tuple(figures) == CLASSES
    assert figures["subdural"] == pytest.approx(roc_auc_score(y[:, 4], p[:, 4]))


def test_auc_of_one_side_only_is_none() -> None:
    assert auc(np.array([0.1, 0.9]), np.array([True, True])) is None


def test_a_scan_is_its_highest_slice() -> None:
    scans = [np.array([[0.1, 0.9], [0.4, 0.2]]), np.array([[0.3, 0.3]])]
    assert scan_level(scans).tolist() == [[0.4, 0.9], [0.3, 0.3]]


def test_calibration_finds_the_line_that_made_the_labels(rng: np.random.Generator) -> None:
    logits = rng.normal(0, 3, (40000, 6))
    y = rng.random((40000, 6)) < 1 / (1 + np.exp(-(0.5 * logits - 1.0)))
    fitted = fit_calibration(logits, y)
    for name in CLASSES:
        assert fitted[name].scale == pytest.approx(0.5, abs=0.03)
        assert fitted[name].bias == pytest.approx(-1.0, abs=0.08)
    p = calibrated(logits, fitted)
    sure = p[:, 0] > 0.8
    assert y[sure, 0].mean() == pytest.approx(p[sure, 0].mean(), abs=0.02)


def test_a_class_without_both_answers_is_left_alone(rng: np.random.Generator) -> None:
    y = np.zeros((50, 6), dtype=bool)
    y[:25, 0] = True
    assert set(fit_calibration(rng.normal(size=(50, 6)), y)) <= {"any"}
    assert set(fix_thresholds(rng.random((50, 6)), y, Reading())) == {"any"}


@pytest.mark.parametrize("overlap", [0.0, 1.0, 3.0])
def test_thresholds_keep_what_they_promise(rng: np.random.Generator, overlap: float) -> None:
    """Overlapping or far apart: few scans without the class are called, few with it dismissed."""
    y = np.repeat([[False], [True]], 500, axis=0) & np.ones((1, 6), dtype=bool)
    logits = np.where(y, 2.0, -2.0) + (0.3 + overlap) * rng.normal(size=y.shape)
    p = 1 / (1 + np.exp(-logits))
    reading = Reading()
    threshold = fix_thresholds(p, y, reading)["any"]
    assert 0 < threshold.absent_below < threshold.present_from < 1
    assert (p[~y[:, 0], 0] >= threshold.present_from).mean() <= 1 - reading.present_specificity + 0.003
    assert (p[y[:, 0], 0] < threshold.absent_below).mean() <= 1 - reading.absent_sensitivity + 0.003


def test_between_classes_that_lie_far_apart_the_zone_of_doubt_is_narrow() -> None:
    y = np.repeat([[False], [True]], 20, axis=0) & np.ones((1, 6), dtype=bool)
    threshold = fix_thresholds(np.where(y, 1 - 1e-7, 1e-7), y, Reading())["any"]
    assert 0.4 < threshold.absent_below < 0.5 < threshold.present_from < 0.6


def test_a_sure_model_can_still_be_believed() -> None:
    """Thresholds that round to 0 and 1 are passed by no probability."""
    y = np.repeat([[False], [True]], 20, axis=0) & np.ones((1, 6), dtype=bool)
    p = np.where(y, 0.99999, 0.9999)
    threshold = fix_thresholds(p, y, Reading())["any"]
    assert 0.9999 < threshold.absent_below < threshold.present_from < 0.99999
