"""Where images lie, of which some may lie nowhere."""

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from ichd.domain.geometry import dot, slice_normal
from ichd.domain.study import InstanceFacts

#: Closer than this along the normal is the same position.
_SAME_POSITION_MM = 0.05
#: Slices below this are thin: averaged when they are read, and what angiographies and bone stacks are made of.
#: Protocols know 0.5 to 1.5 mm as thin; 2 mm and more is read as it is.
THIN_BELOW_MM = 1.75
#: A Pixel Spacing below this is no CT's: a detector's cells are ten times as wide, and what divides by it overflows.
LEAST_PIXEL_MM = 0.01


def is_placed(image: InstanceFacts) -> bool:
    """Whether a pixel of the image has a place in the patient, in finite numbers."""
    position, orientation, spacing = image.image_position, image.image_orientation, image.pixel_spacing
    if position is None or orientation is None or spacing is None:
        return False
    numbers = (*position, *spacing)
    return all(map(math.isfinite, numbers)) and min(spacing) >= LEAST_PIXEL_MM and slice_normal(orientation) is not None


def position_mm(image: InstanceFacts) -> float | None:
    """Along the image's own normal; None where it has no place."""
    if not is_placed(image) or image.image_position is None or image.image_orientation is None:
        return None
    normal = slice_normal(image.image_orientation)
    return None if normal is None else dot(image.image_position, normal)


def positions_mm(images: Sequence[InstanceFacts]) -> list[float]:
    """The distinct positions of parallel images, ascending; images without a place have none."""
    distinct: list[float] = []
    for position in sorted(p for i in images if (p := position_mm(i)) is not None):
        if not distinct or position - distinct[-1] > _SAME_POSITION_MM:
            distinct.append(position)
    return distinct


def coverage_mm(images: Sequence[InstanceFacts]) -> float:
    """From the first position to the last."""
    positions = positions_mm(images)
    return positions[-1] - positions[0] if positions else 0.0


def spacing_mm(images: Sequence[InstanceFacts]) -> float:
    """Usual distance between neighbouring positions; 0 where there is one position or none."""
    positions = positions_mm(images)
    return median(above - below for below, above in pairwise(positions)) if len(positions) > 1 else 0.0


def slice_mm(images: Sequence[InstanceFacts]) -> float:
    """How thick the slices are: the usual thickness, or the spacing where that is larger or nothing is said.

    Thick slices that overlap stay thick; thin ones with gaps between them can't be averaged into thick ones.
    """
    thicknesses = [i.slice_thickness_mm for i in images if i.slice_thickness_mm]
    return max(median(thicknesses) if thicknesses else 0.0, spacing_mm(images))


def repeats(images: Sequence[InstanceFacts]) -> float:
    """How many images there are for each position."""
    positions = positions_mm(images)
    return len(images) / len(positions) if positions else 0.0
