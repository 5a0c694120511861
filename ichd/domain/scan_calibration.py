"""From the highest slice of a scan to the probability of the scan.

The maximum over slices grows with their number: a head of 120 slices has four times the chances of a head of 30 to look
suspicious somewhere. So the score of a scan is

    score = logit(highest slice) - growth * log(slices / 30)

and its probability is `sigmoid(scale * score + bias)` (Platt), or a line through knots (isotonic).

Why this form. Were slices independent, the chance that a bleed-free scan has its maximum near x would be n times that
of one slice (for x in the tail), so that the log odds of blood, given the maximum, fall by log n: scale * growth = 1.
Neighbours look alike and a bleed has several slices of its own, so that the truth lies between 0 and 1, where the fit
keeps it. Alternatives: noisy-or multiplies what is not independent, and needs every slice; a mean of the highest few
falls where a bleed shows on one slice alone. Both were worse in simulation (docs/calibration.md). With this form the
highest slice decides alone, so that the key slices explain the whole result.

For a given number of slices the probability never falls when a slice's rises, and a further slice that is not the
highest never raises it.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

#: A usual head in 5 mm slices; here growth changes nothing.
REFERENCE_SLICES = 30
#: Nearer to 0 or 1 than this, probabilities count as if they were this near, so that scores stay finite.
_SUREST = 1e-9
#: Halvings until a probability is found to twelve digits.
_HALVINGS = 48


@dataclass(frozen=True, kw_only=True)
class ScanCalibration:
    """How the highest slice of one class becomes the scan's probability, and on whom that was fitted."""

    #: What a factor of e in the number of slices takes from the score; 0: the number of slices does not matter.
    growth: float = 0.0
    #: Platt's line; of no meaning where there are knots.
    scale: float = 1.0
    bias: float = 0.0
    #: (score, probability), both ascending: linear between, constant outside.
    knots: tuple[tuple[float, float], ...] = ()
    #: How many it was fitted on, and the share of those scans that had the class.
    scans: int
    patients: int
    prevalence: float
    #: Where probabilities were moved to a place where haemorrhage of this kind is as common as this.
    site_prevalence: float | None = None

    @property
    def method(self) -> Literal["platt", "isotonic"]:
        """Which curve it is."""
        return "isotonic" if self.knots else "platt"

    def probability(self, highest: float, slices: int) -> float:
        """Of a scan of so many slices (slabs read as one count once), the highest of which has this probability.

        Raises:
            ValueError: there are no slices.
        """
        score = scan_score(highest, slices, self.growth)
        return _on_line(score, self.knots) if self.knots else expit(self.scale * score + self.bias)

    def highest_for(self, probability: float, slices: int) -> float:
        """The lowest highest slice that gives a scan of so many slices this probability; 1 where none does."""
        low, high = logit(0.0), logit(1.0)
        if self.probability(0.0, slices) >= probability:
            return 0.0
        if self.probability(1.0, slices) < probability:
            return 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if self.probability(expit(middle), slices) >= probability:
                high = middle
            else:
                low = middle
        return expit(high)


def scan_score(highest: float, slices: int, growth: float) -> float:
    """The score of the module's first lines."""
    if slices < 1:
        raise ValueError("a scan without slices has no score")
    return logit(highest) - growth * math.log(slices / REFERENCE_SLICES)


def logit(p: float) -> float:
    """Log odds, finite for 0 and 1 too."""
    inside = min(max(p, _SUREST), 1 - _SUREST)
    return math.log(inside) - math.log1p(-inside)


def expit(log_odds: float) -> float:
    """The probability of log odds."""
    return 0.5 * (1 + math.tanh(log_odds / 2))


def _on_line(score: float, knots: Sequence[tuple[float, float]]) -> float:
    after = bisect_right(knots, score, key=lambda knot: knot[0])
    if after == 0:
        return knots[0][1]
    if after == len(knots):
        return knots[-1][1]
    (x0, y0), (x1, y1) = knots[after - 1], knots[after]
    return y0 + (y1 - y0) * (score - x0) / (x1 - x0)
