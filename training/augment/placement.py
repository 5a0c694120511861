"""From the square that the network sees to the pixels of each window's image: the mapping of
`ichd.vision.preprocess.resample_hu`, as centres and extents, and one bilinear interpolation.

Shapes: V windows, S slices, H W pixels of the batch's images, G the model's grid, N = V * S.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from ichd.vision.manifest import InputSpec
from ichd.vision.preprocess import AIR_HU
from training.lessons.batch import Batch


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the square lies in each window's image, in pixels, (x, y); (0, 0) is the centre of the first."""

    #: float32 [V, 2].
    centre_V2: Tensor
    #: Half its side, float32 [V, 2].
    half_V2: Tensor
    #: Columns and rows of the image, float32 [V, 2].
    size_V2: Tensor
    #: The image resized edge to edge: its border goes on outside of it, where a crop has air.
    whole: bool
    #: How many source pixels, squared, are averaged before interpolation; a window.
    pooling: tuple[int, ...]

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return replace(
            self,
            centre_V2=self.centre_V2.to(device, non_blocking=True),
            half_V2=self.half_V2.to(device, non_blocking=True),
            size_V2=self.size_V2.to(device, non_blocking=True),
        )


def place(batch: Batch, spec: InputSpec) -> Placement:
    """The square of each window, on the host.

    Without a field of view it is the whole image, whatever its sides; with one, that many mm around the head's centre.
    """
    size_V2 = batch.size_V2.cpu().float().flip(1)
    if spec.field_of_view_mm is None:
        centre_V2, half_V2 = (size_V2 - 1) / 2, size_V2 / 2
    else:
        centre_V2 = batch.centre_V2.cpu().float().flip(1)
        half_V2 = spec.field_of_view_mm / 2 / batch.spacing_V2.cpu().float().flip(1)
    # Bilinear interpolation reads 2 by 2 pixels, however far apart its targets lie: of pixels twice as fine as the
    # grid it would skip some, and noise and thin edges would alias. Their mean over whole pixels comes first.
    finer_V = (2 * half_V2 / spec.image_size).amin(dim=1)
    pooling = tuple(max(1, int(finer)) for finer in (finer_V + 1e-4).tolist())
    return Placement(
        centre_V2=centre_V2, half_V2=half_V2, size_V2=size_V2, whole=spec.field_of_view_mm is None, pooling=pooling
    )


def sample(hu_VSHW: Tensor, points_NGG2: Tensor, inside_NGG: Tensor, placement: Placement) -> Tensor:
    """HU on the grid, float32 [N, G, G], of points in the square's coordinates, all on one device.

    Air where a point lies outside the image, or isn't `inside_NGG`.
    """
    windows, slices = hu_VSHW.shape[:2]
    points_VSGG2 = points_NGG2.reshape(windows, slices, *points_NGG2.shape[1:])
    above_VSGG = hu_VSHW.new_empty(points_VSGG2.shape[:-1], dtype=torch.float32)
    # Once for each factor, and a batch rarely has two.
    for factor in sorted(set(placement.pooling)):
        of_factor = [window for window, pooling in enumerate(placement.pooling) if pooling == factor]
        if len(of_factor) == windows:
            above_VSGG = _interpolate(hu_VSHW, points_VSGG2, placement, factor)
            break
        index = torch.tensor(of_factor, device=hu_VSHW.device)
        part = replace(
            placement,
            centre_V2=placement.centre_V2[index],
            half_V2=placement.half_V2[index],
            size_V2=placement.size_V2[index],
        )
        above_VSGG[index] = _interpolate(hu_VSHW[index], points_VSGG2[index], part, factor)
    return torch.where(inside_NGG, above_VSGG.flatten(0, 1), 0) + AIR_HU


def _interpolate(hu_VSHW: Tensor, points_VSGG2: Tensor, placement: Placement, factor: int) -> Tensor:
    """HU above air, float32 [V, S, G, G], bilinear; relative to air, because what lies outside becomes zero."""
    above_VSHW = hu_VSHW.float() - AIR_HU
    if factor > 1:
        rows, columns = hu_VSHW.shape[2:]
        padded = functional.pad(above_VSHW, (0, -columns % factor, 0, -rows % factor))
        above_VSHW = functional.avg_pool2d(padded, factor)
    height, width = above_VSHW.shape[2:]
    extent_2 = torch.tensor([width, height], dtype=torch.float32).to(hu_VSHW.device, non_blocking=True)
    # In (averaged) pixels from the upper left edge, then as `grid_sample` counts: -1 to 1 over the tensor's sides.
    middle_V2, half_V2 = (placement.centre_V2 + 0.5) / factor, placement.half_V2 / factor
    grid = torch.addcmul(_wide(2 * middle_V2 / extent_2 - 1), points_VSGG2, _wide(2 * half_V2 / extent_2))
    if placement.whole:
        # The border goes on: no point lies beyond the centres of the outermost pixels. A remainder at the lower or
        # right edge, fewer pixels than are averaged, would be averaged with air, and is left out.
        outermost_V2 = (placement.size_V2 / factor).floor() - 0.5
        grid = torch.clamp(
            grid, min=_wide((1 / extent_2 - 1).expand_as(outermost_V2)), max=_wide(2 * outermost_V2 / extent_2 - 1)
        )
    sampled = functional.grid_sample(above_VSHW.flatten(0, 1)[:, None], grid.flatten(0, 1), align_corners=False)
    return sampled.reshape(points_VSGG2.shape[:-1])


def _wide(values_V2: Tensor) -> Tensor:
    """[V, 2] to [V, 1, 1, 1, 2]."""
    return values_V2[:, None, None, None]
