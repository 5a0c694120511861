"""Operating points and shares by arithmetic that can be done by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.measures.interval import Z95, wilson
from training.measures.operating import at_prevalence, at_threshold, threshold_for

SCORES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
TRUTH = np.array([0, 0, 0, 1, 0, 0, 1, 1, 0, 1]).astype(bool)


@given(st.integers(1, 500), st.data())
def test_wilson_s_ends_are_where_the_score_test_just_rejects(of: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, of))
    found = wilson(hits, of)
    assert found is not None
    for end in (found.low, found.high):
        if 0 < end < 1:
            z = abs(hits / of - end) / math.sqrt(end * (1 - end) / of)
            assert z == pytest.approx(Z95, rel=1e-6)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_nothing_has_no_share() -> None:
    assert wilson(0, 0) is None


def test_a_threshold_calls_what_reaches_it() -> None:
    point = at_threshold(SCORES, TRUTH, 0.7)
    assert (point.true_positives, point.false_positives) == (3, 1)
    assert (point.false_negatives, point.true_negatives) == (1, 5)
    assert point.sensitivity is not None
    assert point.specificity is not None
    assert (point.sensitivity.value, point.specificity.value) == (3 / 4, 5 / 6)


def test_predictive_values_follow_bayes() -> None:
    """paper.md: readers' products report 89.9/95.1 pooled; at 2.7 % that is a PPV of a third."""
    scores = np.concatenate([np.ones(899), np.zeros(101), np.ones(49), np.zeros(951)])
    at = at_prevalence(at_threshold(scores, np.arange(2000) < 1000, 0.5), 0.027)
    assert at.ppv is not None
    assert at.npv is not None
    assert at.ppv.value == pytest.approx(0.027 * 0.899 / (0.027 * 0.899 + 0.973 * 0.049))
    assert at.npv.value == pytest.approx(0.973 * 0.951 / (0.973 * 0.951 + 0.027 * 0.101))
    assert at.ppv.low < at.ppv.value < at.ppv.high


def test_at_the_rows_own_prevalence_bayes_gives_the_rows_own_share() -> None:
    point = at_threshold(SCORES, TRUTH, 0.55)
    at = at_prevalence(point, float(TRUTH.mean()))
    assert at.ppv is not None
    assert point.ppv is not None
    assert at.ppv.value == pytest.approx(point.ppv.value)


def test_without_a_side_there_is_no_predictive_value() -> None:
    at = at_prevalence(at_threshold(SCORES, np.ones(10, dtype=bool), 0.5), 0.1)
    assert (at.ppv, at.npv) == (None, None)


@given(st.integers(0, 10_000), st.floats(0.05, 1))
def test_a_threshold_keeps_what_was_wished_and_gives_away_no_more(seed: int, wish: float) -> None:
    rng = np.random.default_rng(seed)
    y = np.arange(30) < 12
    scores = np.round(y + rng.normal(size=30), 1)
    sensitive, specific = threshold_for(scores, y, sensitivity=wish), threshold_for(scores, y, specificity=wish)
    assert np.mean(scores[y] >= sensitive) >= wish
    assert np.mean(scores[~y] < specific) >= wish
    higher, lower = scores[scores > sensitive], scores[scores < specific]
    assert not len(higher) or np.mean(scores[y] >= higher.min()) < wish
    assert not len(lower) or np.mean(scores[~y] < lower.max()) < wish


def test_without_a_wish_it_is_youden_s() -> None:
    sums = {t: np.mean(SCORES[TRUTH] >= t) + np.mean(SCORES[~TRUTH] < t) for t in SCORES}
    assert sums[threshold_for(SCORES, TRUTH)] == pytest.approx(max(sums.values()))


def test_two_wishes_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="two promises"):
        threshold_for(SCORES, TRUTH, sensitivity=0.9, specificity=0.9)
