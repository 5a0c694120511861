"""Whether a probability of 30 % comes true in 30 of 100.

Shapes: N rows of one class, B bins.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.measures.basic import Flags, Floats
from training.measures.interval import Interval, wilson

#: "mass": bins of as many rows each, which a rare class needs, for nearly all its probabilities are small.
#: "width": bins of as much probability each, as reliability diagrams are usually drawn.
Bins = Literal["mass", "width"]


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Rows whose probabilities are alike."""

    rows: int
    #: Mean probability.
    said: float
    #: Share that has the class.
    seen: Interval


def reliability(p_N: Floats, y_N: Flags, *, bins: int = 15, by: Bins = "mass") -> tuple[ReliabilityBin, ...]:
    """The curve, in ascending order; bins without rows are not there."""
    return tuple(
        ReliabilityBin(rows=len(rows), said=float(p_N[rows].mean()), seen=seen)
        for rows in _bins(p_N, bins, by)
        if (seen := wilson(int(y_N[rows].sum()), len(rows))) is not None
    )


def expected_calibration_error(p_N: Floats, y_N: Flags, *, bins: int = 15, by: Bins = "mass") -> float | None:
    """Mean distance of what was said from what was seen, by bin, weighted by rows; None of nothing.

    It depends on the bins, and is above 0 for perfect probabilities, too: chance alone moves a bin of n rows by about
    0.4 / sqrt(n). Source: Naeini et al., AAAI 2015; Nixon et al., CVPR Workshops 2019 (equal mass).
    """
    if not len(p_N):
        return None
    curve = reliability(p_N, y_N, bins=bins, by=by)
    return sum(one.rows * abs(one.said - one.seen.value) for one in curve) / len(p_N)


def brier(p_N: Floats, y_N: Flags) -> float | None:
    """Mean squared error of the probability (Brier 1950); None of nothing."""
    return float(np.mean((p_N - y_N) ** 2)) if len(p_N) else None


def _bins(p_N: Floats, bins: int, by: Bins) -> Iterator[NDArray[np.intp]]:
    if not len(p_N):
        return
    order = np.argsort(p_N, kind="stable")
    ascending = p_N[order]
    # Equal probabilities are never parted: which of them comes first is chance.
    edges = ascending[np.arange(1, bins) * len(p_N) // bins] if by == "mass" else np.arange(1, bins) / bins
    yield from (rows for rows in np.split(order, np.searchsorted(ascending, edges)) if len(rows))
