"""Random changes of windows of slices on the model's grid, in HU, as one pass of batched tensor operations.

A scan that no phantom resembles must still lie inside the range of training, so every amplitude is wide. Geometry and
tissue change a window as a whole, as they change a scan; noise and streaks change each slice by itself. Everything is
drawn from one generator, so that a batch is a function of its seed.

Shapes: V windows, S slices, G the model's grid, g the labels' grid, K kinds of bleed, N = V * S.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from ichd.domain.errors import UserError
from ichd.phantom import BLEED_KINDS
from ichd.vision.manifest import InputSpec
from ichd.vision.preprocess import AIR_HU, normalise
from training.lessons.batch import Batch
from training.lessons.lesson import Lesson
from training.recipe import Range, WideAugmentation

#: HU around which tissue contrast turns.
_BRAIN_HU = 32.0
#: Share of a label cell that must be marked after warping.
_MARKED_FROM = 0.4


def prepare(batch: Batch, spec: WideAugmentation, grid: InputSpec, *, seed: int) -> Lesson:
    """A micro-batch on the model's grid, changed and windowed; a function of its seed.

    Raises:
        UserError: the data does not know where the blood is, or does not lie on the model's grid.
    """
    if batch.label_VSgg is None or batch.hu_VSHW.shape[-1] != grid.image_size:
        raise UserError(
            'augmentation.kind = "wide" needs phantoms on the model\'s grid; use "paper" for packed studies'
        )
    generator = torch.Generator().manual_seed(seed)
    hu, marks = augment(batch.hu_VSHW, batch.label_VSgg, spec, generator)
    return Lesson(
        x_NCGG=normalise(hu.flatten(0, 1), grid).to(memory_format=torch.channels_last),
        lengths_V=batch.lengths_V,
        gap_VS=batch.gap_VS,
        target_VSC=batch.target_VSC,
        weight_VSC=batch.weight_VSC,
        somewhere_VC=batch.somewhere_VC,
        marks_NKgg=marks.flatten(0, 1),
        names=batch.names,
    )


def augment(hu_VSGG: Tensor, label_VSgg: Tensor, spec: WideAugmentation, generator: Generator) -> tuple[Tensor, Tensor]:
    """Changed HU, float32 [V, S, G, G], and marks 0 or 1, float32 [V, S, K, g, g], of int16 HU and label bits."""
    windows = len(hu_VSGG)
    matrix, waves = draw_geometry(windows, spec, generator)
    hu = warp(hu_VSGG.float() - AIR_HU, matrix, waves) + AIR_HU
    kinds = torch.arange(len(BLEED_KINDS))[:, None, None]
    marks = ((label_VSgg[:, :, None] >> kinds) & 1).float()
    warped = warp(marks.flatten(1, 2), matrix, waves).reshape(marks.shape)
    hu = change_tissue(hu, spec, generator)
    hu = hu + shading(hu, spec, generator)
    hu = change_resolution(hu, spec, generator)
    hu = hu + noise(hu, spec, generator) + streaks(hu, spec, generator)
    return hu, (warped > _MARKED_FROM).float()


def draw_geometry(windows: int, spec: WideAugmentation, generator: Generator) -> tuple[Tensor, Tensor]:
    """Affine matrices [V, 2, 3] and slow displacements [V, 2, 5, 5], target to source, in units of half the grid."""
    angle = _uniform(windows, (-spec.rotation_deg, spec.rotation_deg), generator) * (math.pi / 180)
    scale = 1 / _uniform(windows, spec.scale, generator)
    shear = _uniform(windows, (-spec.shear, spec.shear), generator)
    stretch = 1 + _uniform(windows, (-spec.shear, spec.shear), generator)
    flip = 1 - 2 * _chosen(windows, spec.flip_share, generator)
    shift = 2 * spec.shift_share * (2 * torch.rand(windows, 2, generator=generator) - 1)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    skew = torch.stack([torch.stack([stretch, shear], 1), torch.stack([torch.zeros_like(shear), 1 / stretch], 1)], 1)
    mirror = torch.stack([torch.stack([flip, 0 * flip], 1), torch.stack([0 * flip, torch.ones_like(flip)], 1)], 1)
    matrix = torch.cat([mirror @ turn @ skew, shift[:, :, None]], dim=2)
    waves = spec.warp_share * 2 * torch.randn(windows, 2, 5, 5, generator=generator)
    return matrix, waves


def warp(values_VCGG: Tensor, matrix_V23: Tensor, waves_V255: Tensor) -> Tensor:
    """All planes of a window through one sampling grid and one bilinear interpolation; 0 outside."""
    size = list(values_VCGG.shape)
    grid = functional.affine_grid(matrix_V23, size, align_corners=False)
    slow = functional.interpolate(waves_V255, size=size[2:], mode="bicubic", align_corners=True)
    return functional.grid_sample(values_VCGG, grid + slow.permute(0, 2, 3, 1), align_corners=False)


def change_tissue(hu_VSGG: Tensor, spec: WideAugmentation, generator: Generator) -> Tensor:
    """Brighter or darker tissue, more or less contrast within it, denser or thinner bone: monotone in HU."""
    windows = len(hu_VSGG)
    offset = _wide(spec.offset_hu * torch.randn(windows, generator=generator))
    contrast = _wide(_log_uniform(windows, spec.contrast, generator))
    bone = _wide(_uniform(windows, spec.bone_gain, generator))
    soft = hu_VSGG.clamp(-60, 130) - _BRAIN_HU
    change = (contrast - 1) * soft + offset
    # The change fades out towards air and towards bone, slowly enough to keep the order of densities.
    fade = ((hu_VSGG + 500) / 400).clamp(0, 1) * ((700 - hu_VSGG) / 500).clamp(0, 1)
    return hu_VSGG + change * fade + (bone - 1) * (hu_VSGG - 200).clamp(min=0)


def shading(hu_VSGG: Tensor, spec: WideAugmentation, generator: Generator) -> Tensor:
    """Slow waves a slice and cupping a window, inside the body only."""
    windows, slices, height, width = hu_VSGG.shape
    by_slice = torch.randn(windows, slices, 4, 4, generator=generator)
    by_window = torch.randn(windows, 1, 4, 4, generator=generator)
    waves = functional.interpolate(by_slice + by_window, size=(height, width), mode="bicubic", align_corners=True)
    rows, columns = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)[None, :]
    cup = (rows**2 + columns**2 - 0.4) * _wide(1.5 * torch.randn(windows, generator=generator))
    amplitude = _wide(spec.shading_hu * torch.rand(windows, generator=generator))
    return amplitude * (0.6 * waves + cup) * (hu_VSGG > -300)


def change_resolution(hu_VSGG: Tensor, spec: WideAugmentation, generator: Generator) -> Tensor:
    """Softer, sharper, or coarser: one kernel a window."""
    windows = len(hu_VSGG)
    sharp = _wide(_chosen(windows, spec.sharpen_share, generator))
    blurred = blur(hu_VSGG, _uniform(windows, spec.blur_px, generator))
    edge = _wide(_uniform(windows, (0.3, 1.2), generator))
    hu = torch.where(sharp > 0, hu_VSGG + edge * (hu_VSGG - blurred), blurred)
    coarse = _chosen(windows, spec.coarse_share, generator)
    for window in torch.nonzero(coarse).flatten().tolist():
        size = hu.shape[-1]
        fewer = round(size * float(_uniform(1, (0.4, 0.8), generator)))
        small = functional.interpolate(hu[window : window + 1], size=(fewer, fewer), mode="area")
        hu[window] = functional.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)[0]
    return hu


def noise(hu_VSGG: Tensor, spec: WideAugmentation, generator: Generator) -> Tensor:
    """White to grainy noise; the amplitude (standard deviation in HU) differs by window, and a little by slice."""
    windows, slices = hu_VSGG.shape[:2]
    share = torch.rand(windows, generator=generator) ** 2
    amplitude = _wide(spec.noise_hu[0] + (spec.noise_hu[1] - spec.noise_hu[0]) * share)
    by_slice = torch.exp(0.15 * torch.randn(windows, slices, 1, 1, generator=generator))
    grain = blur(torch.randn(hu_VSGG.shape, generator=generator), _uniform(windows, (0.0, 1.3), generator))
    unit = grain / grain.std(dim=(1, 2, 3), keepdim=True)
    return amplitude * by_slice * unit * (hu_VSGG > -300)


def streaks(hu_VSGG: Tensor, spec: WideAugmentation, generator: Generator) -> Tensor:
    """On some slices, bands along one direction, as dense bone and motion make them."""
    windows, slices, height, width = hu_VSGG.shape
    count = windows * slices
    chosen = _chosen(count, spec.streak_share, generator)
    angle = _uniform(count, (0.0, math.pi), generator)[:, None, None]
    profile = torch.randn(count, 1, 1, 24, generator=generator)
    rows, columns = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)[None, :]
    across = (columns * torch.cos(angle) + rows * torch.sin(angle)) / math.sqrt(2)
    grid = torch.stack([across, torch.zeros_like(across)], dim=-1)
    bands = functional.grid_sample(profile, grid, align_corners=True)
    amplitude = spec.streak_hu * chosen * torch.rand(count, generator=generator) ** 2
    return (amplitude[:, None, None, None] * bands).reshape(hu_VSGG.shape) * (hu_VSGG > -300)


def blur(values_VSGG: Tensor, sigma_V: Tensor) -> Tensor:
    """Gaussian blur with a standard deviation (pixels) a window; 0 leaves a window as it is."""
    windows, slices = values_VSGG.shape[:2]
    reach = max(1, math.ceil(3 * float(sigma_V.max())))
    steps = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (steps / sigma_V.clamp(min=1e-3)[:, None]) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    planes = values_VSGG.reshape(1, windows * slices, *values_VSGG.shape[2:])
    each = kernel.repeat_interleave(slices, dim=0)
    padded = functional.pad(planes, (reach,) * 4, mode="replicate")
    padded = functional.conv2d(padded, each[:, None, None, :], groups=windows * slices)
    return functional.conv2d(padded, each[:, None, :, None], groups=windows * slices).reshape(values_VSGG.shape)


def _uniform(count: int, span: Range, generator: Generator) -> Tensor:
    return span[0] + (span[1] - span[0]) * torch.rand(count, generator=generator)


def _log_uniform(count: int, span: Range, generator: Generator) -> Tensor:
    return torch.exp(_uniform(count, (math.log(span[0]), math.log(span[1])), generator))


def _chosen(count: int, share: float, generator: Generator) -> Tensor:
    return (torch.rand(count, generator=generator) < share).float()


def _wide(values_V: Tensor) -> Tensor:
    """[V] to [V, 1, 1, 1]."""
    return values_V[:, None, None, None]
