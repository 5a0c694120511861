"""Resampling patients: agrees with DeLong where rows are independent, and is wider where they are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from training.measures.bootstrap import auc_of, bootstrap, weighted_log_loss_of
from training.measures.log_loss import log_loss
from training.measures.roc import delong


def test_it_agrees_with_delong_on_independent_rows() -> None:
    rng = np.random.default_rng(0)
    y = rng.random(400) < 0.3
    scores = 1.5 * y + rng.normal(size=400)
    theirs, ours = delong(scores, y), bootstrap(auc_of(scores, y), np.arange(400), rounds=1000, seed=1)
    assert theirs is not None
    assert ours is not None
    assert ours.value == pytest.approx(theirs.value)
    assert ours.low == pytest.approx(theirs.low, abs=0.01)
    assert ours.high == pytest.approx(theirs.high, abs=0.01)


def test_slices_of_a_patient_are_not_as_many_patients() -> None:
    """Given 20 copies of each row, DeLong believes in 20 times the rows; the bootstrap does not."""
    rng = np.random.default_rng(2)
    y = rng.random(60) < 0.4
    scores = y + rng.normal(size=60)
    many_scores, many_y, patients = np.repeat(scores, 20), np.repeat(y, 20), np.repeat(np.arange(60), 20)
    fooled, honest = delong(many_scores, many_y), bootstrap(auc_of(many_scores, many_y), patients, rounds=400, seed=3)
    right = delong(scores, y)
    assert fooled is not None
    assert honest is not None
    assert right is not None
    assert fooled.high - fooled.low < 0.35 * (right.high - right.low)
    assert honest.high - honest.low == pytest.approx(right.high - right.low, rel=0.25)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), min_size=4, max_size=30))
def test_a_weight_is_that_many_copies(rows: list[tuple[int, bool, int]]) -> None:
    scores = np.array([float(s) for s, _, _ in rows])
    y, counts = np.array([f for _, f, _ in rows]), np.array([w for _, _, w in rows])
    found = auc_of(scores, y)(counts.astype(float))
    copied, copied_y = np.repeat(scores, counts), np.repeat(y, counts)
    if not copied_y.any() or copied_y.all():
        assert np.isnan(found)
    else:
        assert found == pytest.approx(roc_auc_score(copied_y, copied))


def test_the_weighted_log_loss_is_that_of_the_copied_rows() -> None:
    rng = np.random.default_rng(4)
    p, y = rng.uniform(0.01, 0.99, (30, 6)), rng.integers(-1, 2, (30, 6)).astype(np.int8)
    counts = rng.integers(0, 4, 30)
    expected = log_loss(np.repeat(p, counts, axis=0), np.repeat(y, counts, axis=0))
    assert expected is not None
    assert weighted_log_loss_of(p, y)(counts.astype(float)) == pytest.approx(expected.weighted)


def test_a_seed_gives_one_interval() -> None:
    rng = np.random.default_rng(5)
    y, scores = rng.random(50) < 0.5, rng.random(50)
    one, same, other = (bootstrap(auc_of(scores, y), np.arange(50), rounds=200, seed=k) for k in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize(
    ("y", "patients"),
    [
        (np.arange(40) % 3 == 0, np.arange(40) // 5),
        (np.zeros(40, dtype=bool), np.arange(40)),
        (np.arange(40) >= 20, np.arange(40)),
    ],
    ids=["eight patients", "one side only", "nothing overlaps"],
)
def test_where_resampling_knows_nothing_it_says_nothing(y: np.ndarray, patients: np.ndarray) -> None:
    found = bootstrap(auc_of(np.arange(40.0), y), patients, rounds=100, seed=0)
    assert found is None


def test_arrays_are_handed_to_the_statistic() -> None:
    found = bootstrap(lambda w, x: float(w @ x / w.sum()), np.arange(200), np.arange(200.0), rounds=500, seed=0)
    assert found is not None
    assert found.value == pytest.approx(99.5)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.std(np.arange(200)) / np.sqrt(200), rel=0.15)
