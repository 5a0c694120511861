"""HU to the network's input, by the bundle's `InputSpec`; training uses these same functions on phantoms.

Two steps, because augmentation belongs between them: `resample_hu` brings slices onto the model's pixel grid, still
in HU; `normalise` windows and standardises. `prepare` is both.

Shapes: S slices, C windows, H W image pixels, G = `spec.image_size`.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ichd.vision.manifest import InputSpec
from ichd.vision.window import LEAST_HU, Window

#: What stands where the image ends.
AIR_HU = float(LEAST_HU)

HU = NDArray[np.int16] | NDArray[np.float32]
#: Row and column, in pixels, of a point in the image; (0, 0) is the centre of the first pixel.
Point = tuple[float, float]

#: Above this is body; below are air, foam and most of the head rest.
_BODY_FROM_HU = -300
#: The centre of a head is found on a grid this coarse: far finer than it must be, and quick.
_SEARCH_GRID_MM = 2.0
#: Slices that are looked at for the centre.
_SEARCH_SLICES = 9
#: In steps of a quantised window. Whole HU that end exactly on a step must not fall below it by an engine's rounding
#: (about 3e-5 of a step); the nearest that end short of one are 1/560 short (bone), so none is lifted.
_STEP_GUARD = 2.0**-11


def prepare(
    hu_SHW: HU, pixel_spacing_mm: tuple[float, float], spec: InputSpec, *, centre: Point | None = None
) -> Tensor:
    """Network input [S, C, G, G], float32, of slices in canonical orientation; see the two parts."""
    return normalise(resample_hu(hu_SHW, pixel_spacing_mm, spec, centre=centre), spec)


def resample_hu(
    hu_SHW: HU, pixel_spacing_mm: tuple[float, float], spec: InputSpec, *, centre: Point | None = None
) -> Tensor:
    """HU on the model's grid, float32 [S, G, G], antialiased.

    Without a field of view the whole image becomes G by G whatever its pixel spacing (paper: full image, no crop).
    With one, the square of that many mm around `centre` (default: the head's, found in these slices) does; what lies
    outside the image is air. Spacing is (between rows, between columns).
    """
    sampling = sampling_for(hu_SHW, pixel_spacing_mm, spec, centre=centre)
    return sampling.resample(torch.from_numpy(np.ascontiguousarray(sampling.cut(hu_SHW))))


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the images of one scan come onto the model's grid; made once a scan, used on any device.

    Each axis is one matrix of triangle-filter weights, whose support widens with the shrinkage: it covers the area of a
    target pixel, places the grid at any fraction of a pixel, and is two matrix products for a whole batch.
    """

    #: Source pixels that have any weight: a crop reads only itself. R rows, K columns.
    rows: slice
    columns: slice
    #: [G, R] and [G, K]; None where the image is the grid.
    weights: tuple[Tensor, Tensor] | None

    def cut(self, hu_SHW: HU) -> HU:
        """The source pixels [S, R, K], a view."""
        return hu_SHW[:, self.rows, self.columns]

    def resample(self, hu_SRK: Tensor) -> Tensor:
        """HU on the grid, float32 [S, G, G], of source pixels (any dtype) on the device of the weights."""
        hu = hu_SRK.float()
        if self.weights is None:
            return hu
        weights_rows, weights_columns = self.weights
        # Relative to air, so that weights that sum to less than one outside the image leave air there.
        resampled: Tensor = weights_rows @ (hu - AIR_HU) @ weights_columns.T + AIR_HU
        return resampled

    def to(self, device: torch.device) -> Self:
        """The same with its weights on a device."""
        if self.weights is None:
            return self
        rows, columns = self.weights
        return replace(self, weights=(rows.to(device), columns.to(device)))


def sampling_for(
    hu_SHW: HU, pixel_spacing_mm: tuple[float, float], spec: InputSpec, *, centre: Point | None = None
) -> Sampling:
    """The sampling of slices as `resample_hu` takes them."""
    rows, columns = hu_SHW.shape[1:]
    if spec.field_of_view_mm is None:
        if rows == columns == spec.image_size:
            return Sampling(rows=slice(rows), columns=slice(columns), weights=None)
        weights_rows = _whole_axis(rows, spec.image_size)
        weights_columns = _whole_axis(columns, spec.image_size)
    else:
        row, column = head_centre(hu_SHW, pixel_spacing_mm) if centre is None else centre
        step_mm = spec.field_of_view_mm / spec.image_size
        weights_rows = _cropped_axis(rows, spec.image_size, row, step_mm / pixel_spacing_mm[0])
        weights_columns = _cropped_axis(columns, spec.image_size, column, step_mm / pixel_spacing_mm[1])
    used_rows, used_columns = _used(weights_rows), _used(weights_columns)
    weights = (weights_rows[:, used_rows].contiguous(), weights_columns[:, used_columns].contiguous())
    return Sampling(rows=used_rows, columns=used_columns, weights=weights)


def normalise(hu_SGG: Tensor, spec: InputSpec) -> Tensor:
    """Windowed, standardised input [S, C, G, G] of HU on the model's grid (any float dtype and device).

    Quantised windows need fp32: half a step of the bone window is 5 HU, and bf16 counts to 2048 in steps of 8.
    """
    channels = [
        (_windowed(hu_SGG, window, spec.quantise_bits) - mean) / std
        for window, mean, std in zip(spec.windows, spec.mean, spec.std, strict=True)
    ]
    return torch.stack(channels, dim=1)


def windowed(hu_SGG: Tensor, spec: InputSpec) -> Tensor:
    """The windows alone, values of 0 to 1, [S, C, G, G]: where changes of brightness belong, in training."""
    return torch.stack([_windowed(hu_SGG, window, spec.quantise_bits) for window in spec.windows], dim=1)


def _windowed(hu_SGG: Tensor, window: Window, quantise_bits: int | None) -> Tensor:
    """Values of 0 to 1; quantised as the published weights' images were: the byte floor(255 * (HU - low) / width)."""
    above = hu_SGG.clamp(window.low, window.high) - window.low
    if quantise_bits is None:
        return above / window.width
    steps = (1 << quantise_bits) - 1
    return (above * steps / window.width + _STEP_GUARD).floor() / steps


def crop_centre(hu_SHW: HU, pixel_spacing_mm: tuple[float, float], spec: InputSpec) -> Point | None:
    """Around what a whole scan is cut, for `centre` of the others here; None where the whole image is seen."""
    return None if spec.field_of_view_mm is None else head_centre(hu_SHW, pixel_spacing_mm)


def head_centre(hu_SHW: HU, pixel_spacing_mm: tuple[float, float]) -> Point:
    """In-plane centre of the head: the median over the middle slices of the middle of the largest body.

    Middle slices, because at the base the jaw and at the vertex the small section pull it away; the middle of the
    bounding box, because it is where an off-centre crop would first lose skull. The image's centre where no slice
    shows a body.
    """
    rows, columns = hu_SHW.shape[1:]
    stride_row = max(1, round(_SEARCH_GRID_MM / pixel_spacing_mm[0]))
    stride_column = max(1, round(_SEARCH_GRID_MM / pixel_spacing_mm[1]))
    count = len(hu_SHW)
    chosen = np.unique(np.linspace(count // 4, max(count // 4, (3 * count) // 4 - 1), _SEARCH_SLICES).astype(int))
    found = [
        middle
        for index in chosen
        if (middle := _body_middle(hu_SHW[index, ::stride_row, ::stride_column] > _BODY_FROM_HU)) is not None
    ]
    if not found:
        return ((rows - 1) / 2, (columns - 1) / 2)
    row, column = np.median(np.array(found), axis=0)
    return (float(row) * stride_row, float(column) * stride_column)


def _body_middle(mask_HW: NDArray[np.bool_]) -> Point | None:
    """Middle of the bounding box of the largest component, once couch and straps (thin) are opened away."""
    labels, components = ndimage.label(ndimage.binary_opening(mask_HW, iterations=2))
    if components == 0:
        return None
    largest = int(np.argmax(np.bincount(labels.ravel())[1:])) + 1
    row, column = ndimage.find_objects(labels, max_label=largest)[largest - 1]
    return ((row.start + row.stop - 1) / 2, (column.start + column.stop - 1) / 2)


def _triangle(pixels: int, centres_G: Tensor, step: float) -> Tensor:
    """Weights [G, pixels] of a triangle of half-width `step` pixels (at least 1) around each target centre."""
    support = max(1.0, step)
    distance = (torch.arange(pixels, dtype=torch.float64)[None, :] - centres_G[:, None]).abs()
    return (1 - distance / support).clamp(min=0) / support


def _whole_axis(pixels: int, size: int) -> Tensor:
    """The axis resized edge to edge; weights sum to one, at the border as well."""
    step = pixels / size
    centres_G = (torch.arange(size, dtype=torch.float64) + 0.5) * step - 0.5
    weights = _triangle(pixels, centres_G, step)
    return (weights / weights.sum(dim=1, keepdim=True)).float()


def _cropped_axis(pixels: int, size: int, centre: float, step: float) -> Tensor:
    """`size` targets, `step` pixels apart, around `centre`; weights fall short of one where the image ends.

    Normalised as if the image went on for ever: the sum over all whole pixels, not only those that exist.
    """
    centres_G = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) * step + centre
    support = max(1.0, step)
    margin = int(np.ceil(support)) + 1
    reach = torch.arange(-margin, margin + 1, dtype=torch.float64)
    offsets = centres_G.round()[:, None] + reach[None, :] - centres_G[:, None]
    total_G = (1 - offsets.abs() / support).clamp(min=0).sum(dim=1) / support
    return (_triangle(pixels, centres_G, step) / total_G[:, None]).float()


def _used(weights: Tensor) -> slice:
    """The source pixels that have any weight: a crop reads only itself."""
    columns = torch.nonzero(weights.any(dim=0)).flatten()
    return slice(int(columns[0]), int(columns[-1]) + 1) if len(columns) else slice(0, 1)
