"""A share with what it may as well be."""

import math
from dataclasses import dataclass

#: Standard deviations on either side of the middle: 95 %.
_Z95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Proportion:
    """Some of many, with Wilson's 95 % interval (J. Am. Stat. Assoc. 22 (1927) 209), which stays inside 0 to 1."""

    hits: int
    of: int
    share: float
    low: float
    high: float


def proportion(hits: int, of: int) -> Proportion | None:
    """None of nothing."""
    if of == 0:
        return None
    share, zz = hits / of, _Z95 * _Z95
    middle = (share + zz / (2 * of)) / (1 + zz / of)
    half = _Z95 * math.sqrt(share * (1 - share) / of + zz / (4 * of * of)) / (1 + zz / of)
    low, high = max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
    return Proportion(hits=hits, of=of, share=share, low=low, high=high)
