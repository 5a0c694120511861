"""Noise and blur of the published recipe, on windowed values of 0 to 1.

The authors changed images of 8 bits, so amplitudes are in 255ths, and what noise drives below black or above white is
clipped as it was there. Rounding to whole 255ths afterwards, and the half step of darkening that it brought with one
kind of noise, are not carried over.

Only slices that were drawn are touched: which ones is known on the host, and no operation waits for a device.

Shapes: N slices, C windows (channels), G the model's grid, M slices of one kind.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Generator, Tensor
from torch.nn import functional

from training.augment.draws import one_of, uniform
from training.recipe import PaperAugmentation

#: White, in the units of the recipe.
_WHITE = 255
#: One field of noise for all channels, or one for each.
SHARED_NOISE, CHANNEL_NOISE = 1, 2
MEDIAN, MEAN = 1, 2


@dataclass(frozen=True, kw_only=True)
class PixelChanges:
    """What was drawn for every slice, on the host."""

    #: 0 for none, or one of the two kinds, int64 [N].
    noise_N: Tensor
    #: Standard deviation on values of 0 to 1, 0 without noise, float32 [N].
    noise_std_N: Tensor
    #: 0 for none, or one of the two kinds, int64 [N].
    blur_N: Tensor

    def only(self, real_N: Tensor) -> Self:
        """None for the slices that are padding."""
        return replace(
            self,
            noise_N=torch.where(real_N, self.noise_N, 0),
            noise_std_N=torch.where(real_N, self.noise_std_N, 0.0),
            blur_N=torch.where(real_N, self.blur_N, 0),
        )


def draw_pixel_changes(count: int, spec: PaperAugmentation, generator: Generator) -> PixelChanges:
    """Noise and blur of `count` slices, each drawn by itself.

    The first kind of noise has an even standard deviation and shares its field between the channels (imgaug's
    AdditiveGaussianNoise with `per_channel=False`); the second an even variance and a field a channel (albumentations'
    GaussNoise of 2019).
    """
    noise_N = one_of(count, 2, spec.noise_share, generator, nothing=True)
    shared_std = uniform(count, spec.noise_std, generator)
    channel_std = uniform(count, spec.noise_variance, generator).sqrt()
    std = torch.where(noise_N == SHARED_NOISE, shared_std, channel_std) / _WHITE
    return PixelChanges(
        noise_N=noise_N,
        noise_std_N=torch.where(noise_N == 0, 0.0, std),
        blur_N=one_of(count, 2, spec.blur_share, generator, nothing=True),
    )


def add_noise(values_NCGG: Tensor, changes: PixelChanges, generator: Generator) -> None:
    """Noise into the slices that have it, in place; the generator is one of their device."""
    channels, height, width = values_NCGG.shape[1:]
    for kind, fields in ((SHARED_NOISE, 1), (CHANNEL_NOISE, channels)):
        index = _slices(changes.noise_N == kind, values_NCGG)
        if not len(index):
            continue
        std_M = changes.noise_std_N[changes.noise_N == kind].to(values_NCGG.device, non_blocking=True)
        shape = (len(index), fields, height, width)
        field = torch.randn(shape, generator=generator, device=values_NCGG.device)
        values_NCGG[index] = torch.addcmul(values_NCGG[index], std_M[:, None, None, None], field).clamp(0, 1)


def blur(values_NCGG: Tensor, changes: PixelChanges) -> None:
    """Median or mean over 3 by 3 pixels of the slices that have it, in place."""
    for kind, smooth in ((MEDIAN, median), (MEAN, mean)):
        index = _slices(changes.blur_N == kind, values_NCGG)
        if len(index):
            values_NCGG[index] = smooth(values_NCGG[index])


def mean(values_MCGG: Tensor) -> Tensor:
    """Mean over 3 by 3 pixels; at the border the image is mirrored about its outermost pixels."""
    return functional.avg_pool2d(functional.pad(values_MCGG, (1, 1, 1, 1), mode="reflect"), 3, stride=1)


def median(values_MCGG: Tensor) -> Tensor:
    """Median over 3 by 3 pixels; at the border the outermost pixels go on.

    Three columns are sorted, once for all windows they belong to. The median of nine is then the middle one of: the
    largest of the lows, the middle one of the middles, the smallest of the highs (Smith 1996, "Implementing median
    filters in XC4000E FPGAs"). Minima and maxima of whole planes, where sorting would gather nine planes first.
    """
    padded = functional.pad(values_MCGG, (1, 1, 1, 1), mode="replicate")
    low, middle, high = _sorted(padded[..., :-2, :], padded[..., 1:-1, :], padded[..., 2:, :])
    highest_low = torch.maximum(torch.maximum(low[..., :-2], low[..., 1:-1]), low[..., 2:])
    lowest_high = torch.minimum(torch.minimum(high[..., :-2], high[..., 1:-1]), high[..., 2:])
    return _middle(highest_low, _middle(middle[..., :-2], middle[..., 1:-1], middle[..., 2:]), lowest_high)


def _sorted(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    return torch.minimum(low, c), torch.maximum(low, torch.minimum(high, c)), torch.maximum(high, c)


def _middle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))


def _slices(drawn_N: Tensor, values_NCGG: Tensor) -> Tensor:
    """Their numbers, int64 [M], on the device of the values."""
    return torch.nonzero(drawn_N).flatten().to(values_NCGG.device, non_blocking=True)
