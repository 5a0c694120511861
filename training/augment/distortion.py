"""Two ways to bend a slice: a grid of uneven steps, and a lens. Maps of coordinates only, nothing is sampled here.

Coordinates run from -1 to 1 over the side of the square that the network sees, x to the right and y downwards; a map
says for a point of the changed slice where it comes from. Both have a parameter at which they change nothing, so that
slices with and without them go through the same operations.

Shapes: N slices, G the model's grid, K steps a side.
"""

import torch
from torch import Tensor

#: The lens' focal length is the side of the image, -1 to 1: radii are measured in sides.
_SIDE = 2.0


def uneven_steps(points_NG: Tensor, steps_NK: Tensor) -> Tensor:
    """Where points of one axis come from, [N, G], when K equal steps are stretched by a factor each.

    Steps add up from the left or upper edge: the other edge moves with them, by as much as all factors together differ
    from 1. (So it is in the library that the authors used, which ends in a jump over the last two of 512 pixels, where
    K doesn't divide 512. That jump isn't carried over.) Factors of 1 change nothing.
    """
    count = steps_NK.shape[1]
    # In steps from the edge; a point beyond the last keeps to it, so that the map stays monotone.
    along_NG = (points_NG + 1) * (count / 2)
    whole_NG = along_NG.floor().clamp(0, count - 1).long()
    before_NK = steps_NK.cumsum(dim=1) - steps_NK
    moved_NG = before_NK.gather(1, whole_NG) + steps_NK.gather(1, whole_NG) * (along_NG - whole_NG)
    return moved_NG * (2 / count) - 1


def lens(x_NGG: Tensor, y_NGG: Tensor, bend_N: Tensor) -> tuple[Tensor, Tensor]:
    """Where points come from behind a lens whose two radial coefficients are equal: r becomes r (1 + k r^2 + k r^4).

    k > 0 pulls the slice together (barrel), k < 0 spreads it (pincushion), 0 changes nothing. Radii are in sides of
    the image, 0.71 in its corners.
    """
    square_NGG = (x_NGG**2 + y_NGG**2) / _SIDE**2
    factor_NGG = 1 + bend_N[:, None, None] * (square_NGG + square_NGG**2)
    return x_NGG * factor_NGG, y_NGG * factor_NGG


def centres(size: int, device: torch.device) -> Tensor:
    """Pixel centres of an axis of the grid, [G], between -1 and 1."""
    return (2 * torch.arange(size, dtype=torch.float32, device=device) + 1) / size - 1
