"""Where a slice lies: plain vector arithmetic in the patient coordinate system (PS3.3 C.7.6.2.1.1).

Axes are LPS: +x to the patient's left, +y posterior, +z to the head; lengths are millimetres.
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise
from statistics import median

Vector = tuple[float, float, float]
Orientation = tuple[float, float, float, float, float, float]

#: Parallel within about one degree.
_PARALLEL_COSINE = 0.9998
#: Row and column direction must be unit vectors at a right angle; scanners round to six digits, some to three.
_UNIT_TOLERANCE = 1e-2
#: No head protocol leaves more between two slices.
_LONGEST_SPACING_MM = 12.0
#: One missing slice makes a step twice as long as its neighbours.
_LONE_STEP = 1.8
#: Of fewer slices nobody can say what their usual spacing is; views for planning are fewer.
_FEWEST_IN_STACK = 6


def slice_normal(orientation: Orientation) -> Vector | None:
    """Unit normal of an image plane, pointing to the head for an axial slice however rows and columns run.

    None where the row and column directions are not (nearly) orthogonal unit vectors.
    """
    row, column = orientation[:3], orientation[3:]
    if not all(math.isfinite(v) for v in orientation):
        return None
    if abs(math.hypot(*row) - 1) > _UNIT_TOLERANCE or abs(math.hypot(*column) - 1) > _UNIT_TOLERANCE:
        return None
    if abs(dot(row, column)) > _UNIT_TOLERANCE:
        return None
    x = row[1] * column[2] - row[2] * column[1]
    y = row[2] * column[0] - row[0] * column[2]
    z = row[0] * column[1] - row[1] * column[0]
    length = math.hypot(x, y, z)
    sign = -1.0 if z < 0 else 1.0
    return (sign * x / length, sign * y / length, sign * z / length)


def dot(a: Vector, b: Vector) -> float:
    """Scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def parallel(a: Orientation, b: Orientation) -> bool:
    """Same rows and same columns, within about one degree."""
    return dot(a[:3], b[:3]) > _PARALLEL_COSINE and dot(a[3:], b[3:]) > _PARALLEL_COSINE


def holes(positions_mm: Sequence[float]) -> list[tuple[int, float]]:
    """Where slices are missing: index of the slice below each hole, and the hole's length in mm.

    `positions_mm` ascend along the normal. Scanners change their spacing on purpose, thin at the base and thick above:
    then one of a step's neighbours is as long as the step. One that is much longer than both is no such change, nor is
    one three times as long as the usual one and longer than a thick slice.
    """
    steps = [above - below for below, above in pairwise(positions_mm)]
    if not steps:
        return []
    long = max(3 * median(steps), _LONGEST_SPACING_MM)
    return [(index, step) for index, step in enumerate(steps) if step > long or _is_lone(steps, index)]


def _is_lone(steps: Sequence[float], index: int) -> bool:
    return 0 < index < len(steps) - 1 and steps[index] > _LONE_STEP * max(steps[index - 1], steps[index + 1])


def holes_in_stacks(slices: Iterable[tuple[Hashable, Vector | None, Orientation | None]]) -> int:
    """In how many places slices are missing: each slice is given with its series, its position and its orientation.

    Slices of one series that are not parallel are stacks of their own; those that lie in one place, as in a perfusion
    series, count once. Slices without geometry, and stacks of a few slices, have no holes.
    """
    stacks: dict[Hashable, set[float]] = {}
    for series, position, orientation in slices:
        normal = slice_normal(orientation) if orientation is not None else None
        if position is None or normal is None:
            continue
        stack = (series, *(round(component, 2) for component in normal))
        stacks.setdefault(stack, set()).add(round(dot(position, normal), 1))
    return sum(len(holes(sorted(stack))) for stack in stacks.values() if len(stack) >= _FEWEST_IN_STACK)


def degrees_from_axial(normal: Vector) -> float:
    """Angle between a slice normal and the patient's long axis: the gantry tilt of an axial scan."""
    return math.degrees(math.acos(min(1.0, abs(normal[2]))))
