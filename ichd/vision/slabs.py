"""Thin slices are averaged to slabs of about 5 mm, as thick as what the published model was trained on.

The network has seen slices of 2.5 mm and more; the noise of a thinner one hides blood from it, and three hundred slices
take ten times as long. What is averaged are HU, so a slab is what the scanner would have reconstructed thicker.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from ichd.domain.placed import THIN_BELOW_MM

_SLAB_MM = 5.0
#: Slices this far apart are never averaged: half a slab would be missing between them.
_APART_MM = 2.5
#: A step so much longer than both of its neighbours is a missing slice, as in `ichd.domain.geometry`.
_LONE_STEP = 1.8


def slabs_of(z_mm: Sequence[float], thickness_mm: float | None) -> tuple[range, ...]:
    """Indices of the slices of each slab, ascending as `z_mm` does; each slice is in one slab.

    Of slices that are not thin each is a slab of its own. Thin is what lies close *and* is thin: slices of 5 mm that
    were reconstructed every 1.5 mm have little noise, and averaging would blur them. Positions are believed for the
    first, Slice Thickness (mm, None where it is not said) for the second.

    A slab never bridges a hole. Between holes slabs are equally thick, as near to 5 mm as their number allows, so that
    no thin rest remains at an end.
    """
    steps = [above - below for below, above in pairwise(z_mm)]
    if not steps or median(steps) >= THIN_BELOW_MM or (thickness_mm is not None and thickness_mm >= THIN_BELOW_MM):
        return tuple(range(index, index + 1) for index in range(len(z_mm)))
    ends = [index + 1 for index in range(len(steps)) if _is_hole(steps, index)]
    runs = [range(start, end) for start, end in pairwise([0, *ends, len(z_mm)])]
    return tuple(slab for run in runs for slab in _cut(run, z_mm, median(steps)))


def _is_hole(steps: Sequence[float], index: int) -> bool:
    neighbours = [*steps[max(0, index - 1) : index], *steps[index + 1 : index + 2]]
    return steps[index] > _APART_MM or (bool(neighbours) and steps[index] > _LONE_STEP * max(neighbours))


def _cut(run: range, z_mm: Sequence[float], usual_step_mm: float) -> list[range]:
    """A run without holes in slabs of equal thickness."""
    first, last = z_mm[run[0]], z_mm[run[-1]]
    step = median([above - below for below, above in pairwise(z_mm[i] for i in run)]) if len(run) > 1 else usual_step_mm
    # Each slice stands for half a step to either side.
    extent = last - first + step
    count = max(1, round(extent / _SLAB_MM))
    slab_of = [min(count - 1, int((z_mm[index] - first + step / 2) / extent * count)) for index in run]
    starts = [index for index in run if index == run[0] or slab_of[index - run[0]] != slab_of[index - run[0] - 1]]
    return [range(start, end) for start, end in pairwise([*starts, run.stop])]
