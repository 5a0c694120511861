"""Calibration, subgroups and worst cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from ichd.domain.finding import CLASSES
from training.measures.calibration import Bins, brier, expected_calibration_error, reliability
from training.measures.subgroups import subgroups
from training.measures.worst import worst


@pytest.mark.parametrize(("by", "theirs"), [("mass", "quantile"), ("width", "uniform")])
def test_the_curve_is_scikit_learn_s(by: Bins, theirs: str) -> None:
    rng = np.random.default_rng(0)
    p = rng.random(1000)
    y = rng.random(1000) < p**2
    seen, said = calibration_curve(y, p, n_bins=10, strategy=theirs)
    curve = reliability(p, y, bins=10, by=by)
    assert [one.said for one in curve] == pytest.approx(said, abs=2e-3)
    assert [one.seen.value for one in curve] == pytest.approx(seen, abs=1e-2)


@given(st.lists(st.tuples(st.integers(0, 10), st.booleans()), max_size=60), st.sampled_from(["mass", "width"]))
def test_every_row_is_in_one_bin(rows: list[tuple[int, bool]], by: Bins) -> None:
    p, y = np.array([k / 10 for k, _ in rows]), np.array([f for _, f in rows], dtype=bool)
    curve = reliability(p, y, by=by)
    assert sum(one.rows for one in curve) == len(rows)
    assert [one.said for one in curve] == sorted(one.said for one in curve)


def test_true_probabilities_are_calibrated_and_bold_ones_are_not() -> None:
    rng = np.random.default_rng(1)
    p = rng.random(20_000)
    y = rng.random(20_000) < p
    bold = p**3 / (p**3 + (1 - p) ** 3)
    for by in ("mass", "width"):
        honest, wrong = expected_calibration_error(p, y, by=by), expected_calibration_error(bold, y, by=by)
        assert honest is not None
        assert wrong is not None
        assert honest < 0.015 < 0.1 < wrong


def test_brier_is_scikit_learn_s() -> None:
    rng = np.random.default_rng(2)
    p, y = rng.random(50), rng.random(50) < 0.5
    assert brier(p, y) == pytest.approx(brier_score_loss(y, p))


def test_nothing_has_no_figure() -> None:
    nothing = np.array([]), np.array([], dtype=bool)
    assert brier(*nothing) is None
    assert expected_calibration_error(*nothing) is None


def test_subgroups_share_out_the_rows() -> None:
    rng = np.random.default_rng(3)
    p, y = rng.random((90, 6)), (rng.random((90, 6)) < 0.4).astype(np.int8)
    names = ["thin"] * 20 + ["thick"] * 70
    thick, thin = subgroups("thickness", names, p, y)
    assert (thick.name, thick.rows, thin.name, thin.rows) == ("thick", 70, "thin", 20)
    assert thick.positives + thin.positives == int((y[:, 0] == 1).sum())
    assert thin.auc is not None


def test_the_worst_come_first_and_once_and_what_nobody_knows_is_no_mistake() -> None:
    p, y = np.full((4, 6), 0.1), np.zeros((4, 6), dtype=np.int8)
    p[0, 3], p[1, 0], p[1, 4] = 0.9, 0.99, 0.8
    p[2, 5], y[2, 5] = 0.999, -1
    found = worst(p, y)
    assert [(one.row, one.name, one.present) for one in found] == [(1, "any", False), (0, CLASSES[3], False)]
    assert found[0].loss == pytest.approx(-np.log(0.01))
