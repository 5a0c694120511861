"""The weighted log loss of the RSNA 2019 challenge, also where labels are missing.

The training loss is the mean of the same six losses with weights 2, 1, 1, 1, 1, 1, which sum to 7 and are divided by 6:
it is 7/6 of this metric, so that the two must never be compared as they are.

Shapes: N rows (slices), C = 6 classes in the order of `ichd.domain.finding.CLASSES`. Truth is 1, 0 or -1 (unknown).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ichd.domain.finding import CLASSES
from training.measures.basic import METRIC_WEIGHTS, SUREST, Floats, Labels

#: The training loss of a prediction, divided by its metric.
LOSS_OVER_METRIC = 7 / 6


@dataclass(frozen=True, kw_only=True)
class LogLoss:
    """Log losses, natural logarithm."""

    #: By the metric's weights; over the classes that have labels.
    weighted: float
    #: None for a class without labels.
    by_class: Mapping[str, float | None]
    #: What the prevalence of each class, said of every row, scores: a model above it knows less than nothing.
    baseline: float
    #: With at least one label.
    rows: int


def losses(p_NC: Floats, y_NC: Labels) -> Floats:
    """Binary log loss of each label, [N, C]; NaN where it is unknown."""
    p = np.clip(p_NC, SUREST, 1 - SUREST)
    return np.where(y_NC < 0, np.nan, -np.where(y_NC > 0, np.log(p), np.log1p(-p)))


def log_loss(p_NC: Floats, y_NC: Labels) -> LogLoss | None:
    """Weighted and by class; a class is averaged over the rows whose label is known. None where nothing is known."""
    known_NC = y_NC >= 0
    if not known_NC.any():
        return None
    means_C = _column_means(losses(p_NC, y_NC), known_NC)
    return LogLoss(
        weighted=weighted(means_C),
        by_class={name: None if np.isnan(mean) else float(mean) for name, mean in zip(CLASSES, means_C, strict=True)},
        baseline=constant_prevalence(_column_means(np.where(known_NC, y_NC, 0).astype(np.float64), known_NC)),
        rows=int(known_NC.any(axis=1).sum()),
    )


def weighted(means_C: Floats) -> float:
    """The metric of the classes' mean losses; the weights of those that are NaN go to the others."""
    weights, known = np.array(METRIC_WEIGHTS), ~np.isnan(means_C)
    return float((means_C[known] * weights[known]).sum() / weights[known].sum())


def constant_prevalence(prevalence_C: Floats) -> float:
    """The metric of a reader who says the prevalence of each class of every row: 0.2320 on RSNA's stage 1."""
    p = np.clip(prevalence_C, SUREST, 1 - SUREST)
    return weighted(-(prevalence_C * np.log(p) + (1 - prevalence_C) * np.log1p(-p)))


def _column_means(values_NC: Floats, known_NC: NDArray[np.bool_]) -> Floats:
    counts_C = known_NC.sum(axis=0)
    sums_C = np.where(known_NC, values_NC, 0).sum(axis=0)
    return np.where(counts_C > 0, sums_C / np.maximum(counts_C, 1), np.nan)
