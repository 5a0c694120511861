"""Are these Hounsfield units? Air lies at -1000 and soft tissue near 40, or the scale is another one."""

import numpy as np
from numpy.typing import NDArray

from ichd.domain.errors import NotAnalysable
from ichd.domain.reason import Reason
from ichd.vision.quality.sections import coarse, strides_for
from ichd.vision.scan import HeadScan

_GRID_MM = 4.0
#: Wide: scanners are calibrated to a few HU every day, and the faults to be found are of hundreds.
_AIR_HU = (-1024.0, -850.0)
_SOFT_HU = (-120.0, 160.0)
_BINS = 512


def require_hounsfield(scan: HeadScan) -> None:
    """Let a scan pass whose air and soft tissue have the values that they must have.

    After a slope of 2, or an intercept that was left out or applied twice, all of the brain is blood or water to a
    model. Thresholds in HU can't find that; but on any scale the values of a head form two heaps, and these have
    medians.

    Raises:
        NotAnalysable: IMPLAUSIBLE_HU, with both medians.
    """
    air, soft = medians_of_heaps(coarse(scan.hu_SHW, strides_for(scan, _GRID_MM)))
    if _AIR_HU[0] <= air <= _AIR_HU[1] and _SOFT_HU[0] <= soft <= _SOFT_HU[1]:
        return
    raise NotAnalysable(
        Reason.IMPLAUSIBLE_HU, f"what should be air lies at {air:.0f} HU, what should be soft tissue at {soft:.0f} HU"
    )


def medians_of_heaps(values: NDArray[np.float32]) -> tuple[float, float]:
    """The medians of the darker and of the brighter values, parted where Otsu parts them; equal if there is one value.

    Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62: the threshold that leaves the least variance within the parts.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low, high
    counts, edges = np.histogram(values, bins=_BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = values.size - below
    sum_below = np.cumsum(counts * middles)[:-1]
    mean_below = sum_below / below
    mean_above = (float((counts * middles).sum()) - sum_below) / above
    threshold = edges[1 + int(np.argmax(below * above * (mean_below - mean_above) ** 2))]
    return float(np.median(values[values < threshold])), float(np.median(values[values >= threshold]))
