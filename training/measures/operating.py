"""What a threshold makes of scores. It is fixed on other patients first: chosen on those it is judged on, it flatters.

Shapes: N rows (scans) of one class.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_curve

from training.measures.basic import Flags, Floats
from training.measures.interval import Interval, wilson


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Calls at one threshold; a share is None where there is nothing to take it of."""

    #: Rows with this score or more are called.
    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    sensitivity: Interval | None
    specificity: Interval | None
    #: Of these rows, at their own prevalence.
    ppv: Interval | None
    npv: Interval | None


@dataclass(frozen=True, kw_only=True)
class AtPrevalence:
    """What a call, or its absence, means where the class is as common as this."""

    prevalence: float
    ppv: Interval | None
    npv: Interval | None


def at_threshold(scores_N: Floats, y_N: Flags, threshold: float) -> OperatingPoint:
    """Counts and shares, with Wilson's intervals."""
    called_N = scores_N >= threshold
    tp, fp = int((called_N & y_N).sum()), int((called_N & ~y_N).sum())
    fn, tn = int((~called_N & y_N).sum()), int((~called_N & ~y_N).sum())
    return OperatingPoint(
        threshold=threshold,
        true_positives=tp,
        false_positives=fp,
        false_negatives=fn,
        true_negatives=tn,
        sensitivity=wilson(tp, tp + fn),
        specificity=wilson(tn, tn + fp),
        ppv=wilson(tp, tp + fp),
        npv=wilson(tn, tn + fn),
    )


def at_prevalence(point: OperatingPoint, prevalence: float) -> AtPrevalence:
    """Predictive values by Bayes' rule, taking sensitivity and specificity along to a place of another prevalence.

    The interval runs from both shares at their low ends to both at their high ends: wider than 95 %, never narrower.
    """
    sensitivity, specificity = point.sensitivity, point.specificity
    if sensitivity is None or specificity is None:
        return AtPrevalence(prevalence=prevalence, ppv=None, npv=None)
    ends = [(getattr(sensitivity, end), getattr(specificity, end)) for end in ("value", "low", "high")]
    return AtPrevalence(
        prevalence=prevalence,
        ppv=_interval([_share(prevalence * a, (1 - prevalence) * (1 - b)) for a, b in ends]),
        npv=_interval([_share((1 - prevalence) * b, prevalence * (1 - a)) for a, b in ends]),
    )


def threshold_for(
    scores_N: Floats, y_N: Flags, *, sensitivity: float | None = None, specificity: float | None = None
) -> float:
    """The threshold that keeps one of the two at least so high, and the other as high as it goes; without a wish, the
    one where their sum is highest (Youden 1950).

    To be used on other patients than those it was chosen on.

    Raises:
        ValueError: both are wished for, or only one side exists.
    """
    if sensitivity is not None and specificity is not None:
        raise ValueError("one threshold can't keep two promises")
    if y_N.all() or not y_N.any():
        raise ValueError("a threshold needs positives and negatives")
    false_rate, true_rate, thresholds = roc_curve(y_N, scores_N, drop_intermediate=False)
    if sensitivity is not None:
        best = np.flatnonzero(true_rate >= sensitivity)[0]
    elif specificity is not None:
        best = np.flatnonzero(1 - false_rate >= specificity)[-1]
    else:
        best = np.argmax(true_rate - false_rate)
    # The first of scikit-learn's thresholds is infinite: nothing is called.
    return float(min(thresholds[best], np.nextafter(scores_N.max(), np.inf)))


def _share(wanted: float, other: float) -> float | None:
    return wanted / (wanted + other) if wanted + other > 0 else None


def _interval(ends: list[float | None]) -> Interval | None:
    value, low, high = ends
    if value is None:
        return None
    return Interval(value=value, low=0.0 if low is None else min(low, value), high=1.0 if high is None else high)
