"""Twelve-bit images whose header forgot that they were shifted: a known fault of some exports, undone.

The scanner's values were signed, air about -1000; an export kept their low twelve bits, called them unsigned and left
Rescale Intercept near 0. Soft tissue then reads right, while air reads as 3096 HU and fat as 3996.
"""

import numpy as np
from numpy.typing import NDArray

from ichd.vision.slices import SliceHeader

_BITS = 12
_WRAP = 1 << _BITS
#: An unsigned image with such an intercept has no value for air.
_INTERCEPT_ABOVE = -100.0
#: Air in the repaired values.
_AIR_HU = -1000


def repaired(stored: NDArray[np.int32], header: SliceHeader) -> tuple[NDArray[np.int32], float] | None:
    """Stored values and the intercept to rescale them with; None where the header can be believed.

    `stored` [rows, columns] holds the bits of Bits Stored, and is not changed. The rule is that of paper.md
    ("Preprocessing"): of unsigned twelve-bit images with an intercept above -100, 1000 is added, 4096 is wrapped to 0,
    and the intercept is -1000. Two conditions are added. A slope other than 1 is left alone, because the thousand is
    one of HU. And some value must wrap: without one, the rule would only replace an odd intercept by 0.
    """
    twelve_bits_unsigned = header.bits_stored == _BITS and not header.signed
    if not twelve_bits_unsigned or header.slope != 1 or header.intercept <= _INTERCEPT_ABOVE:
        return None
    if int(stored.max()) < _WRAP + _AIR_HU:
        return None
    return (stored - np.int32(_AIR_HU)) % np.int32(_WRAP), float(_AIR_HU)
