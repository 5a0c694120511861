"""Intervals by resampling patients: slices of one patient are alike, and must come and go together.

A round gives each patient a weight, how often it was drawn, instead of copying its rows; what a statistic can prepare
once (the order of the scores) it prepares once. Percentile intervals, 95 %.

Shapes: N rows, G groups (patients). Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.measures.basic import Flags, Floats, Labels
from training.measures.interval import Interval
from training.measures.log_loss import losses, weighted

#: Weights [N] and the arrays to a figure; NaN where the draw has none (an AUC without positives).
Statistic = Callable[..., float]

#: With a smaller share of rounds that have a figure, their quantiles are none.
_LEAST_SHARE = 0.5
#: Of fewer patients than this, the draws are too much alike to say what others would be like.
FEWEST_GROUPS = 10


def bootstrap(
    statistic: Statistic,
    groups_N: Sequence[str] | NDArray[Any],
    *arrays: NDArray[Any],
    rounds: int = 2000,
    seed: int,
) -> Interval | None:
    """`statistic(weights_N, *arrays)` with an interval over resampled groups.

    None where there is no figure, where there are fewer than `FEWEST_GROUPS`, where most draws have none, or where all
    agree (an area of 1): resampling can't see beyond its sample, and would call that certain.
    """
    if len(np.unique(np.asarray(groups_N))) < FEWEST_GROUPS:
        return None
    value = statistic(np.ones(len(groups_N)), *arrays)
    drawn = resampled(statistic, groups_N, *arrays, rounds=rounds, seed=seed)
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or len(drawn) < _LEAST_SHARE * rounds:
        return None
    low, high = np.quantile(drawn, [0.025, 0.975])
    if low == high:
        return None
    return Interval(value=value, low=min(value, float(low)), high=max(value, float(high)))


def resampled(
    statistic: Statistic, groups_N: Sequence[str] | NDArray[Any], *arrays: NDArray[Any], rounds: int, seed: int
) -> Floats:
    """`statistic(weights_N, *arrays)` of each round; NaN where a draw has none."""
    _, group_N = np.unique(np.asarray(groups_N), return_inverse=True)
    groups = int(group_N.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = np.empty(rounds)
    for k in range(rounds):
        counts_G = np.bincount(rng.integers(0, groups, groups), minlength=groups).astype(np.float64)
        drawn[k] = statistic(counts_G[group_N], *arrays)
    return drawn


def auc_of(scores_N: Floats, y_N: Flags) -> Callable[[Floats], float]:
    """The area under the ROC curve as a function of the rows' weights; sorts once."""
    order = np.argsort(scores_N, kind="stable")
    above_N, ordered = y_N[order].astype(np.float64), scores_N[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    tied = len(starts) < len(ordered)

    def area(weights_N: Floats) -> float:
        sorted_N = weights_N[order]
        positives = sorted_N * above_N
        negatives = sorted_N - positives
        if tied:
            positives, negatives = np.add.reduceat(positives, starts), np.add.reduceat(negatives, starts)
        pairs = positives.sum() * negatives.sum()
        below = np.cumsum(negatives) - negatives / 2
        return float(positives @ below / pairs) if pairs > 0 else float("nan")

    return area


def weighted_log_loss_of(p_NC: Floats, y_NC: Labels) -> Callable[[Floats], float]:
    """The challenge's metric as a function of the rows' weights."""
    each_NC = losses(p_NC, y_NC)
    known_NC = ~np.isnan(each_NC)
    each_NC, counts_NC = np.where(known_NC, each_NC, 0.0), known_NC.astype(np.float64)

    def loss(weights_N: Floats) -> float:
        sums_C, totals_C = weights_N @ each_NC, weights_N @ counts_NC
        if not totals_C.any():
            return float("nan")
        return weighted(np.where(totals_C > 0, sums_C / np.maximum(totals_C, 1), np.nan))

    return loss
