"""How far what comes in now lies from what came in at first: the population stability index, without its noise."""

import math
from collections.abc import Mapping
from enum import StrEnum

#: From here on somebody should look; from there on what was validated is not what is read.
WATCH_FROM = 0.1
ALERT_FROM = 0.25
#: Of the present; fewer say nothing.
FEWEST_SCANS = 50
#: Of the first weeks.
FEWEST_AT_FIRST = 200
#: A bin that one side lacks would make the index infinite.
_PSEUDO_COUNT = 0.5


class DriftLevel(StrEnum):
    """What a drift asks for."""

    STEADY = "steady"
    WATCH = "watch"
    ALERT = "alert"


def drift(reference: Mapping[str, float], present: Mapping[str, float]) -> float | None:
    """Population stability index between two histograms, less what chance alone gives; 0 and more.

    The index is the sum of (q - p) ln(q / p) over the bins that either has, with p and q their shares. Of two samples
    of m and n from one population with k bins it is (k - 1)(1/m + 1/n) on average, which is taken off: else a small
    hospital would drift for ever. None where either side is too small to say.
    """
    m, n = sum(reference.values()), sum(present.values())
    if m < FEWEST_AT_FIRST or n < FEWEST_SCANS:
        return None
    bins = {name for histogram in (reference, present) for name, count in histogram.items() if count > 0}
    index = 0.0
    for name in bins:
        p = (reference.get(name, 0.0) + _PSEUDO_COUNT) / (m + _PSEUDO_COUNT * len(bins))
        q = (present.get(name, 0.0) + _PSEUDO_COUNT) / (n + _PSEUDO_COUNT * len(bins))
        index += (q - p) * math.log(q / p)
    return max(0.0, index - (len(bins) - 1) * (1 / m + 1 / n))


def level_of(value: float) -> DriftLevel:
    """What it asks for."""
    if value >= ALERT_FROM:
        return DriftLevel.ALERT
    return DriftLevel.WATCH if value >= WATCH_FROM else DriftLevel.STEADY
