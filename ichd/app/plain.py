"""Phantoms whose bleeds nobody overlooks: what commissioning, demonstrations and acceptance checks want.

As in clinics, a drawn subdural may be as dense as brain, and a drawn subarachnoid bleed a smear; that is right for
training and measuring, and wrong for asking whether the trip works.
"""

from dataclasses import replace

import numpy as np

from ichd.domain.errors import IchdError
from ichd.phantom import BLEED_KINDS, Phantom, PhantomRecipe, render

#: A bleed is plain from so much brighter than the brain around it, HU, over so large an area on one slice.
CONTRAST_HU = 18.0
AREA_MM2 = 250.0
_TRIES = 60
#: Far enough apart that the seeds of neighbours never meet.
_STRIDE = 1_000_003


def plain_recipe(recipe: PhantomRecipe) -> PhantomRecipe:
    """The recipe, under the first seed of a fixed series beginning with its own that draws every bleed plainly.

    Raises:
        IchdError: none does within reason; the recipe asks for too much at once.
    """
    if not recipe.bleeds:
        return recipe
    for attempt in range(_TRIES):
        candidate = replace(recipe, seed=recipe.seed + attempt * _STRIDE, subtlety=recipe.subtlety or 0.1)
        # Coarse is enough to look at contrast and area, and a tenth of the cost.
        if shows_plainly(render(replace(candidate, rows=128, voxel_mm=2.0))):
            return candidate
    raise IchdError(
        f"no seed near {recipe.seed} shows {', '.join(recipe.bleeds)} plainly; ask for fewer bleeds at once"
    )


def shows_plainly(phantom: Phantom) -> bool:
    """Whether each bleed of the recipe stands out on at least one slice."""
    return all(_stands_out(phantom, kind) for kind in phantom.recipe.bleeds)


def _stands_out(phantom: Phantom, kind: str) -> bool:
    marked_SHW = (phantom.label_SHW >> np.uint8(BLEED_KINDS.index(kind))) & np.uint8(1) > 0
    pixels_S = marked_SHW.sum(axis=(1, 2))
    largest = int(pixels_S.argmax())
    if pixels_S[largest] * phantom.pixel_spacing_mm**2 < AREA_MM2:
        return False
    hu_HW, marked_HW = phantom.hu_SHW[largest], marked_SHW[largest]
    brain_HW = (hu_HW > 15) & (hu_HW < 55) & (phantom.label_SHW[largest] == 0)
    return float(np.median(hu_HW[marked_HW]) - np.median(hu_HW[brain_HW])) >= CONTRAST_HU
