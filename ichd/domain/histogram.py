"""Bins in which figures are kept, so that those of hours add up to those of days; quantiles are read back from them."""

import math
from collections.abc import Iterable, Mapping

#: Bins that a doubling is divided into: a quantile is at most 4.4 % off.
_A_DOUBLING = 8
#: Lower bound of the first bin, s; whatever is shorter lies in it, too.
_SHORTEST_S = 1 / 16
#: Bins of a probability, each as wide as the others.
SCORE_BINS = 20

_SLICES = (16, 24, 32, 40, 64, 128)
_THICKNESS_MM = (0.9, 1.5, 2.5, 3.5, 4.5, 5.5)


def duration_bin(seconds: float) -> int:
    """The bin of a duration, counted from 0."""
    return max(0, math.floor(_A_DOUBLING * math.log2(max(seconds, _SHORTEST_S) / _SHORTEST_S)))


def duration_of(bin_: int) -> float:
    """The middle of a bin, s."""
    return _SHORTEST_S * float(2.0 ** ((bin_ + 0.5) / _A_DOUBLING))


def score_bin(probability: float) -> int:
    """The bin of a probability, counted from 0."""
    return min(int(probability * SCORE_BINS), SCORE_BINS - 1)


def score_of(bin_: int) -> float:
    """The middle of a bin."""
    return (bin_ + 0.5) / SCORE_BINS


def slices_bin(slices: int) -> str:
    """How many slices were read."""
    return _named(slices, _SLICES, "{:d}")


def thickness_bin(thickness_mm: float | None) -> str:
    """Slice Thickness; a bin around each whole number of millimetres."""
    if thickness_mm is None or not thickness_mm > 0:
        return "unknown"
    return _named(thickness_mm, _THICKNESS_MM, "{:.1f} mm")


def quantile(counts: Mapping[int, float], share: float) -> int | None:
    """The bin in which the nearest rank lies; None of nothing."""
    total = sum(counts.values())
    if total <= 0:
        return None
    rank, seen = math.ceil(share * total), 0.0
    for bin_ in sorted(counts):
        seen += counts[bin_]
        if seen >= rank:
            return bin_
    return max(counts)


def added(histograms: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Several of the same bins as one."""
    sums: dict[str, float] = {}
    for histogram in histograms:
        for name, count in histogram.items():
            sums[name] = sums.get(name, 0.0) + count
    return sums


def _named(value: float, bounds: tuple[float, ...], form: str) -> str:
    below = next((i for i, bound in enumerate(bounds) if value < bound), len(bounds))
    if below == 0:
        return "below " + form.format(bounds[0])
    if below == len(bounds):
        return "from " + form.format(bounds[-1])
    return f"{form.format(bounds[below - 1])} to {form.format(bounds[below])}"
