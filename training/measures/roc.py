"""How well scores put what is there above what is not, and whether another set of scores does it better.

Shapes: N rows, P positives and Q negatives among them. Rows are taken to be independent: of slices, of which a patient
has many, `training.measures.bootstrap` tells the truth.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from training.measures.basic import Flags, Floats
from training.measures.interval import Z95, Interval, wilson

__all__ = ["Comparison", "Interval", "delong", "delong_test"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What one set of scores has over another on the same rows."""

    #: Of the first AUC less the second.
    difference: Interval
    #: Two-sided: how often two equal sets of scores would differ by as much.
    p_value: float


def delong(scores_N: Floats, y_N: Flags) -> Interval | None:
    """Area under the ROC curve with its 95 % interval; None where only one side exists.

    The variance is DeLong's, the interval symmetric in the logit of the area, so that it stays inside 0 to 1. Where
    nothing overlaps (an area of 0 or 1) that variance is 0, which is not knowledge but a small sample: the interval is
    then Wilson's of a share of as many cases as the rarer side has. So it is where a side has fewer than five rows,
    whose variance nobody can tell.

    Source: DeLong et al., Biometrics 44 (1988) 837; midranks after Sun and Xu, IEEE Signal Proc. Lett. 21 (2014) 1389.
    """
    if not _has_both(y_N):
        return None
    placed = _Placements.of(scores_N, y_N)
    area, deviation = placed.area, math.sqrt(placed.covariance(placed))
    rarer = min(len(placed.of_positives), len(placed.of_negatives))
    if rarer < _FEWEST or deviation < _NOTHING or not 0 < area < 1:
        share = wilson(area * rarer, rarer)
        assert share is not None  # noqa: S101 - both sides have a row
        return Interval(value=area, low=min(area, share.low), high=max(area, share.high))
    logit, spread = math.log(area / (1 - area)), Z95 * deviation / (area * (1 - area))
    return Interval(value=area, low=_expit(logit - spread), high=_expit(logit + spread))


def delong_test(a_N: Floats, b_N: Floats, y_N: Flags) -> Comparison | None:
    """Whether `a_N` has another area than `b_N` on the same rows; None where too few rows can tell.

    The interval of the difference is the normal one, not beyond -1 and 1. Scores that order the rows alike differ by 0
    with a p-value of 1.

    Raises:
        ValueError: only one side exists, for which areas have no meaning.
    """
    if not _has_both(y_N):
        raise ValueError("an area needs positives and negatives")
    a, b = _Placements.of(a_N, y_N), _Placements.of(b_N, y_N)
    difference = a.area - b.area
    variance = a.covariance(a) + b.covariance(b) - 2 * a.covariance(b)
    deviation = math.sqrt(max(0.0, variance))
    if deviation < _NOTHING:
        # Without spread, only what is alike is known to be.
        alike = abs(difference) < _NOTHING
        same = Interval(value=difference, low=difference, high=difference)
        return Comparison(difference=same, p_value=1.0) if alike else None
    if min(len(a.of_positives), len(a.of_negatives)) < _FEWEST:
        return None
    half = Z95 * deviation
    interval = Interval(value=difference, low=max(-1.0, difference - half), high=min(1.0, difference + half))
    return Comparison(difference=interval, p_value=float(2 * norm.sf(abs(difference) / deviation)))


#: A standard deviation below this is one of rounding.
_NOTHING = 1e-10
#: Of fewer rows on a side the variance is not known.
_FEWEST = 5


@dataclass(frozen=True, kw_only=True)
class _Placements:
    """Where each row stands among the rows of the other side: the share of them that it is right about, ties half."""

    #: [P] and [Q].
    of_positives: Floats
    of_negatives: Floats

    @classmethod
    def of(cls, scores_N: Floats, y_N: Flags) -> "_Placements":
        # Midranks in all rows less midranks in one's own side count the other's below: n log n, not P times Q.
        above, below = scores_N[y_N], scores_N[~y_N]
        ranks = rankdata(np.concatenate([above, below]))
        return cls(
            of_positives=(ranks[: len(above)] - rankdata(above)) / len(below),
            of_negatives=1 - (ranks[len(above) :] - rankdata(below)) / len(above),
        )

    @property
    def area(self) -> float:
        return float(self.of_positives.mean())

    def covariance(self, other: "_Placements") -> float:
        """Of this area with another on the same rows. One row alone on its side adds nothing, having no spread."""
        return _shared(self.of_positives, other.of_positives) + _shared(self.of_negatives, other.of_negatives)


def _shared(a: Floats, b: Floats) -> float:
    if len(a) < 2:
        return 0.0
    return float((a - a.mean()) @ (b - b.mean())) / (len(a) - 1) / len(a)


def _has_both(y_N: Flags) -> bool:
    return bool(y_N.any() and not y_N.all())


def _expit(logit: float) -> float:
    return 0.5 * (1 + math.tanh(logit / 2))
