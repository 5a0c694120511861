"""DeLong's interval and test against their definition, and against repetition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from training.measures.basic import Flags, Floats
from training.measures.roc import delong, delong_test

SCORES = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=4, max_size=40).filter(
    lambda rows: any(y for _, y in rows) and not all(y for _, y in rows)
)


def arrays(rows: list[tuple[int, bool]]) -> tuple[Floats, Flags]:
    return np.array([float(s) for s, _ in rows]), np.array([y for _, y in rows])


def slow_components(scores_N: Floats, y_N: Flags) -> tuple[Floats, Floats]:
    """DeLong et al. 1988, equations 4 and 5, pair by pair."""
    above, below = scores_N[y_N], scores_N[~y_N]
    psi = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in below] for a in above])
    return psi.mean(axis=1), psi.mean(axis=0)


def slow_covariance(a_N: Floats, b_N: Floats, y_N: Flags) -> float:
    (v10, v01), (w10, w01) = slow_components(a_N, y_N), slow_components(b_N, y_N)
    return float(np.cov(v10, w10)[0, 1] / len(v10) + np.cov(v01, w01)[0, 1] / len(v01))


@pytest.mark.parametrize("decimals", [0, 1, 9], ids=["many ties", "some ties", "no ties"])
def test_the_interval_is_delongs_in_the_logit(decimals: int) -> None:
    rng = np.random.default_rng(3)
    y = rng.random(120) < 0.3
    scores = np.round(1.2 * y + rng.normal(size=120), decimals)
    area, deviation = roc_auc_score(y, scores), np.sqrt(slow_covariance(scores, scores, y))
    logit, spread = np.log(area / (1 - area)), norm.ppf(0.975) * deviation / (area * (1 - area))
    found = delong(scores, y)
    assert found is not None
    assert found.value == pytest.approx(area)
    assert found.low == pytest.approx(1 / (1 + np.exp(-(logit - spread))))
    assert found.high == pytest.approx(1 / (1 + np.exp(-(logit + spread))))


def test_the_test_is_delongs_on_the_covariance_of_both() -> None:
    rng = np.random.default_rng(4)
    y = rng.random(150) < 0.4
    shared = rng.normal(size=150)
    a, b = np.round(y + shared + 0.5 * rng.normal(size=150), 1), 0.6 * y + shared
    variance = slow_covariance(a, a, y) + slow_covariance(b, b, y) - 2 * slow_covariance(a, b, y)
    difference = roc_auc_score(y, a) - roc_auc_score(y, b)
    found = delong_test(a, b, y)
    assert found is not None
    assert found.difference.value == pytest.approx(difference)
    assert found.difference.high - found.difference.low == pytest.approx(2 * norm.ppf(0.975) * np.sqrt(variance))
    assert found.p_value == pytest.approx(2 * norm.sf(abs(difference) / np.sqrt(variance)))


def test_the_interval_covers_the_true_area_about_as_often_as_it_says() -> None:
    """Two normals a unit apart have an area of Phi(1 / sqrt 2)."""
    rng, truth, hits = np.random.default_rng(5), norm.cdf(1 / np.sqrt(2)), 0
    y = np.arange(80) < 25
    for _ in range(400):
        found = delong(rng.normal(size=80) + y, y)
        assert found is not None
        hits += found.low <= truth <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_equal_models_differ_significantly_in_one_of_twenty() -> None:
    rng, y = np.random.default_rng(6), np.arange(100) < 40
    found = [delong_test(rng.normal(size=100) + y, rng.normal(size=100) + y, y) for _ in range(400)]
    below = [one is not None and one.p_value < 0.05 for one in found]
    assert 0.02 <= np.mean(below) <= 0.09


def test_a_perfect_area_of_few_cases_is_no_certainty() -> None:
    y = np.array([True] * 5 + [False] * 50)
    few, many = delong(y.astype(float), y), delong(np.repeat(y, 20).astype(float), np.repeat(y, 20))
    assert few is not None
    assert many is not None
    assert (few.value, few.high) == (1, 1)
    assert few.low < 0.6 < 0.95 < many.low


@pytest.mark.parametrize("positives", [1, 2, 4])
def test_of_a_few_rows_no_p_value_is_made(positives: int) -> None:
    """One positive has no variance; two against two, wholly separated both ways, would differ for sure."""
    y = np.arange(30) < positives
    rng = np.random.default_rng(1)
    assert delong_test(y.astype(float), 1 - y.astype(float), y) is None
    assert delong_test(rng.random(30), rng.random(30), y) is None
    found = delong(rng.random(30), y)
    assert found is not None
    assert found.high - found.low > 0.4


def test_one_side_only_has_no_area() -> None:
    assert delong(np.array([0.1, 0.2]), np.array([True, True])) is None
    with pytest.raises(ValueError, match="positives and negatives"):
        delong_test(np.array([0.1, 0.2]), np.array([0.1, 0.2]), np.array([False, False]))


@settings(deadline=None)
@given(SCORES)
def test_only_the_order_of_scores_counts(rows: list[tuple[int, bool]]) -> None:
    scores, y = arrays(rows)
    assert delong(scores, y) == delong(np.exp(scores) - 3, y)
    alike = delong_test(scores, 5 * scores + 1, y)
    assert alike is not None
    assert alike.p_value == 1


@settings(deadline=None)
@given(SCORES)
def test_the_other_side_of_the_question_has_the_other_area(rows: list[tuple[int, bool]]) -> None:
    scores, y = arrays(rows)
    one, other = delong(scores, y), delong(scores, ~y)
    assert one is not None
    assert other is not None
    assert other.value == pytest.approx(1 - one.value)
    assert other.low == pytest.approx(1 - one.high, abs=1e-9)
    assert 0 <= one.low <= one.value <= one.high <= 1
    assert one.value == pytest.approx(roc_auc_score(y, scores))
