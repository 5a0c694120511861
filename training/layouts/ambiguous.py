"""Phantoms whose blood can't be told on one slice: a bright spot that goes on in its neighbours, or one that does not.

Every spot is drawn alike, in size, density and place. A haemorrhage has one in each of three slices, one above the
other; a calcification has one in a single slice. On the slice itself the two are the same picture, so that a network
that sees slices by themselves can do no better than guess, while its neighbours tell them apart at once (the paper's
claim for its sequence model).
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichd.domain.finding import CLASSES
from ichd.phantom import BLEED_KINDS, Phantom, PhantomRecipe, render

_KIND = "intraparenchymal"
#: Slices of a haemorrhage.
_EXTENT = 3
_RADIUS_MM, _BLOOD_HU = (8.0, 12.0), (65.0, 85.0)
_MOST_BLEEDS, _MOST_CALCIFICATIONS = 2, 6
#: Brain, and how far from anything else a spot's centre lies.
_BRAIN_HU, _MARGIN_MM = (5, 60), 12.0
#: A slice with less brain than this is no place for a spot.
_LEAST_BRAIN_MM2 = 1500.0


def render_ambiguous(recipe: PhantomRecipe) -> Phantom:
    """The recipe's head without its bleeds, with spots of both sorts; equal recipes render to equal bytes.

    A haemorrhage counts as present in each of its slices. As many slices show a calcification as show a haemorrhage,
    on average.
    """
    plain = render(replace(recipe, bleeds=(), mimics=()))
    rng = recipe.generator("ambiguous")
    hu_SHW, label_SHW, presence_SC = plain.hu_SHW.copy(), plain.label_SHW.copy(), plain.presence_SC.copy()
    inside_SHW = _brain(plain)
    free = [index for index in range(len(hu_SHW)) if inside_SHW[index].any()]
    for _ in range(int(rng.integers(0, _MOST_BLEEDS + 1))):
        starts = [index for index in free if all(index + more in free for more in range(_EXTENT))]
        if not starts:
            break
        first = int(rng.choice(starts))
        slices = range(first, first + _EXTENT)
        spot_HW = _spot(plain, np.asarray(inside_SHW[slices].all(axis=0)), rng)
        if spot_HW is None:
            continue
        for index in slices:
            _paint(hu_SHW[index], spot_HW, rng)
            label_SHW[index] |= (spot_HW > 0.5).astype(np.uint8) << BLEED_KINDS.index(_KIND)
            presence_SC[index, [CLASSES.index("any"), CLASSES.index(_KIND)]] = True
        # A neighbour's spot would make a longer one of it, or one of a calcification.
        free = [index for index in free if index < first - 1 or index > first + _EXTENT]
    for _ in range(int(rng.integers(0, _MOST_CALCIFICATIONS + 1))):
        if not free:
            break
        index = int(rng.choice(free))
        spot_HW = _spot(plain, inside_SHW[index], rng)
        if spot_HW is not None:
            _paint(hu_SHW[index], spot_HW, rng)
        free = [other for other in free if abs(other - index) > 1]
    return replace(plain, hu_SHW=hu_SHW, label_SHW=label_SHW, presence_SC=presence_SC)


def _brain(phantom: Phantom) -> NDArray[np.bool_]:
    """Where a spot's centre may lie, [S, H, W]: well inside the largest piece of brain of each slice."""
    low, high = _BRAIN_HU
    pixel_mm = phantom.pixel_spacing_mm
    inside = np.zeros(phantom.hu_SHW.shape, dtype=np.bool_)
    smooth_SHW = ndimage.uniform_filter(phantom.hu_SHW.astype(np.float32), size=(1, 3, 3))
    for index, hu_HW in enumerate(smooth_SHW):
        pieces, count = ndimage.label((hu_HW > low) & (hu_HW < high))
        if not count:
            continue
        largest_HW = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
        if largest_HW.sum() * pixel_mm**2 >= _LEAST_BRAIN_MM2:
            inside[index] = ndimage.distance_transform_edt(largest_HW) * pixel_mm > _MARGIN_MM
    return inside


def _spot(phantom: Phantom, allowed_HW: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32] | None:
    """A round spot with soft edges, 0 to 1, [H, W]; None where there is no room for one."""
    places = np.argwhere(allowed_HW)
    if not len(places):
        return None
    row, column = places[int(rng.integers(len(places)))]
    radius_mm = rng.uniform(*_RADIUS_MM)
    rows, columns = np.ogrid[: allowed_HW.shape[0], : allowed_HW.shape[1]]
    distance_mm = np.hypot(rows - row, columns - column) * phantom.pixel_spacing_mm
    soft_mm = phantom.pixel_spacing_mm
    return np.asarray(np.clip((radius_mm - distance_mm) / soft_mm + 0.5, 0, 1), dtype=np.float32)


def _paint(hu_HW: NDArray[np.int16], spot_HW: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Every slice's spot has a density of its own, so that its neighbours' tell nothing."""
    blood_hu = rng.uniform(*_BLOOD_HU)
    hu_HW[:] = np.rint(hu_HW + spot_HW * (blood_hu - 32.0)).astype(np.int16)
