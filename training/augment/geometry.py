"""All geometry of the published recipe as one sampling grid: a slice is interpolated once, in HU.

The authors' order is crop, flip, warp. A point of the network's grid is followed backwards: through the warp, the flip
and the crop to the square that the network would see unchanged, and from there (`training.augment.placement`) to the
pixels of the image. What a warp fetches from outside the crop is air, though the image may go on there: the crop had
thrown it away.

At most one warp applies to a slice, and each of them has parameters at which it changes nothing. So all slices go
through all three, and no operation depends on which was drawn.

Coordinates run from -1 to 1 over the square's side, x to the right, y downwards, pixel centres at (2 i + 1) / G - 1.

Shapes: N slices, G the model's grid, K steps of the grid distortion, T tries of the crop.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Generator, Tensor

from training.augment.distortion import centres, lens, uneven_steps
from training.augment.draws import chosen, one_of, uniform
from training.recipe import PaperAugmentation

#: A crop that doesn't fit into the image is drawn again, as often as this; then the whole image stays.
_CROP_TRIES = 10
SHIFT_SCALE_ROTATE, GRID_DISTORTION, OPTICAL_DISTORTION = 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What was drawn for every slice, on the host; float32 but for `warp_N`."""

    #: Half the crop's width and height, 1 for the whole side, [N, 2].
    crop_half_N2: Tensor
    #: Its middle (x, y), [N, 2].
    crop_middle_N2: Tensor
    #: -1 where an axis (x, y) is mirrored, else 1, [N, 2].
    flip_N2: Tensor
    #: 0 for none, or one of the three, int64 [N].
    warp_N: Tensor
    #: Counter-clockwise as one looks at the picture, radians, [N].
    angle_N: Tensor
    #: Above 1 enlarges, [N].
    scale_N: Tensor
    #: To the right and downwards, in sides, [N, 2].
    shift_N2: Tensor
    #: Factors of the steps along x and along y, [N, K].
    steps_x_NK: Tensor
    steps_y_NK: Tensor
    #: Coefficient of the lens, [N].
    bend_N: Tensor

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        moved: dict[str, Any] = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        return replace(self, **moved)


def draw_geometry(count: int, spec: PaperAugmentation, generator: Generator) -> Geometry:
    """Geometry of `count` slices, each drawn by itself."""
    half_N2, middle_N2 = _draw_crop(count, spec, generator)
    flip = one_of(count, 2, spec.flip_share, generator, nothing=False)
    warp_N = one_of(count, 3, spec.warp_share, generator, nothing=True)
    angle = uniform(count, (-spec.rotation_deg, spec.rotation_deg), generator) * (math.pi / 180)
    scale = uniform(count, (1 - spec.scale, 1 + spec.scale), generator)
    shift = uniform(2 * count, (-spec.shift, spec.shift), generator).reshape(count, 2)
    factors = (1 - spec.grid_distortion, 1 + spec.grid_distortion)
    steps = uniform(2 * count * spec.grid_steps, factors, generator).reshape(2, count, spec.grid_steps)
    bend = uniform(count, (-spec.optical_distortion, spec.optical_distortion), generator)
    affine, grid, optical = (warp_N == kind for kind in (SHIFT_SCALE_ROTATE, GRID_DISTORTION, OPTICAL_DISTORTION))
    return Geometry(
        crop_half_N2=half_N2,
        crop_middle_N2=middle_N2,
        flip_N2=torch.stack([1.0 - 2 * (flip == 1), 1.0 - 2 * (flip == 2)], dim=1),
        warp_N=warp_N,
        angle_N=torch.where(affine, angle, 0.0),
        scale_N=torch.where(affine, scale, 1.0),
        shift_N2=torch.where(affine[:, None], shift, 0.0),
        steps_x_NK=torch.where(grid[:, None], steps[0], 1.0),
        steps_y_NK=torch.where(grid[:, None], steps[1], 1.0),
        bend_N=torch.where(optical, bend, 0.0),
    )


def follow(geometry: Geometry, size: int) -> tuple[Tensor, Tensor]:
    """Where each pixel of the grid comes from in the unchanged square, (x, y), [N, G, G, 2], and whether there is
    anything, bool [N, G, G]; on the geometry's device.
    """
    axis_NG = centres(size, geometry.bend_N.device).expand(len(geometry.bend_N), size)
    x, y = _turned(
        uneven_steps(axis_NG, geometry.steps_x_NK)[:, None, :],
        uneven_steps(axis_NG, geometry.steps_y_NK)[:, :, None],
        geometry,
    )
    x, y = lens(x, y, geometry.bend_N)
    inside_NGG = torch.maximum(x.abs(), y.abs()) <= 1
    stretch_N2 = geometry.flip_N2 * geometry.crop_half_N2
    points_NGG2 = torch.addcmul(
        geometry.crop_middle_N2[:, None, None], torch.stack([x, y], dim=-1), stretch_N2[:, None, None]
    )
    return points_NGG2, inside_NGG


def _turned(x_N1G: Tensor, y_NG1: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Shift, scale and rotation about the middle, undone: coordinates [N, G, G] before them."""
    cosine, sine = (torch.cos(geometry.angle_N) / geometry.scale_N, torch.sin(geometry.angle_N) / geometry.scale_N)
    cosine, sine = cosine[:, None, None], sine[:, None, None]
    # A side is 2 long.
    x = x_N1G - 2 * geometry.shift_N2[:, 0, None, None]
    y = y_NG1 - 2 * geometry.shift_N2[:, 1, None, None]
    return cosine * x - sine * y, sine * x + cosine * y


def _draw_crop(count: int, spec: PaperAugmentation, generator: Generator) -> tuple[Tensor, Tensor]:
    """Half extents and middles, [N, 2]: the first of the tries that fits, the whole image where none does."""
    tries = count * _CROP_TRIES
    area = uniform(tries, spec.crop_area, generator)
    low, high = spec.crop_aspect
    aspect = torch.exp(uniform(tries, (math.log(low), math.log(high)), generator))
    sides_NT2 = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=1).reshape(count, _CROP_TRIES, 2)
    fits_NT = (sides_NT2 <= 1).all(dim=2)
    first_N = fits_NT.int().argmax(dim=1)
    side_N2 = sides_NT2[torch.arange(count), first_N]
    where_N2 = uniform(2 * count, (-1.0, 1.0), generator).reshape(count, 2)
    cropped_N1 = (fits_NT.any(dim=1) & chosen(count, spec.crop_share, generator))[:, None]
    half_N2 = torch.where(cropped_N1, side_N2, 1.0)
    return half_N2, where_N2 * (1 - half_N2)
