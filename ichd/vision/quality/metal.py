"""Metal in the head: clips, coils, implants, electrodes. Fillings lie below the brain and are not worth a note."""

import numpy as np
from scipy import ndimage

from ichd.domain.note import Note, Remark
from ichd.vision.quality.sections import Flags, Sections, dilated, places
from ichd.vision.scan import HeadScan

#: The petrous bone of the real head ends at 2121 HU, the phantoms' densest at 2208; most scales end at 3071.
_METAL_FROM_HU = 2500
#: Less is an overshoot at an edge of bone.
_LEAST_MM2 = 3.0
_BRAIN_SHARE = 0.15
#: A staple lies on the skin, glasses do not.
_AROUND_BODY_CELLS = 2


def metal_in(scan: HeadScan, sections: Sections) -> tuple[Note, ...]:
    """METAL where slices with brain hold something denser than bone."""
    near_SHW = dilated(sections.body_SHW, _AROUND_BODY_CELLS)
    with_brain_S = sections.with_brain(_BRAIN_SHARE)
    area_mm2 = np.zeros(len(with_brain_S))
    for index in np.flatnonzero(with_brain_S):
        dense_HW = scan.hu_SHW[index] > _METAL_FROM_HU
        if dense_HW.any():
            area_mm2[index] = _largest_mm2(dense_HW, near_SHW[index], scan.pixel_spacing_mm)
    metal_S = area_mm2 >= _LEAST_MM2
    if not metal_S.any():
        return ()
    detail = f"{places(metal_S, sections.z_mm)}, up to {area_mm2.max():.0f} mm² above {_METAL_FROM_HU} HU"
    return (Note(remark=Remark.METAL, detail=detail),)


def _largest_mm2(dense_HW: Flags, near_hw: Flags, spacing_mm: tuple[float, float]) -> float:
    """Area of the largest dense thing at the body; `near_hw` is on the coarse grid."""
    labels, count = ndimage.label(dense_HW)
    if not count:
        return 0.0
    rows, columns = np.nonzero(dense_HW)
    coarse_rows = np.minimum(rows * near_hw.shape[0] // dense_HW.shape[0], near_hw.shape[0] - 1)
    coarse_columns = np.minimum(columns * near_hw.shape[1] // dense_HW.shape[1], near_hw.shape[1] - 1)
    at_body = near_hw[coarse_rows, coarse_columns]
    sizes = np.bincount(labels[rows, columns][at_body])
    return float(sizes.max(initial=0)) * spacing_mm[0] * spacing_mm[1]
