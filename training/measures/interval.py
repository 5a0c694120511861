"""A figure between what it may as well be: every interval here covers the truth in 95 of 100 repetitions."""

import math
from dataclasses import dataclass

#: Standard deviations on either side of the middle: 95 %.
Z95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def wilson(hits: float, of: int) -> Interval | None:
    """A share with Wilson's score interval, which stays inside 0 to 1 and tells 5 of 5 from 500 of 500.

    None of nothing. Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    if of == 0:
        return None
    share, zz = hits / of, Z95 * Z95
    middle = (share + zz / (2 * of)) / (1 + zz / of)
    half = Z95 * math.sqrt(share * (1 - share) / of + zz / (4 * of * of)) / (1 + zz / of)
    return Interval(value=share, low=max(0.0, min(share, middle - half)), high=min(1.0, max(share, middle + half)))
