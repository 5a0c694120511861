"""CutMix as the authors apply it: one box, one share and one exchange of partners for a micro-batch of slices.

Yun et al., "CutMix" (ICCV 2019); paper, training recipe. Slices are exchanged over all windows of the micro-batch, so a
scan may get a piece of another; padding gives and takes nothing.

Shapes: N slices, padding included, C windows (channels), G the model's grid.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CutMix:
    """A box that every slice has from its partner."""

    #: Partner of each slice, int64 [N], on the host; padding is its own.
    permutation_N: Tensor
    rows: slice
    columns: slice
    #: Share of a slice that stays its own, 0 to 1: by the exact area of the box.
    mixing: float


def draw_cutmix(real_N: Tensor, size: int, alpha: float, rng: np.random.Generator) -> CutMix:
    """A box whose sides are sqrt(1 - lambda) of the slice's, lambda of a Beta(alpha, alpha) distribution.

    Its middle lies anywhere in the slice and it is cut at the border, so the share is taken from what is left of it.
    Sides are whole and even (twice a half that is rounded down), as the authors' are.
    """
    real = torch.nonzero(real_N).flatten()
    permutation_N = torch.arange(len(real_N))
    permutation_N[real] = real[torch.from_numpy(rng.permutation(len(real)))]
    side = int(math.sqrt(1 - rng.beta(alpha, alpha)) * size)
    columns, rows = (_cut(int(rng.integers(size)), side // 2, size) for _ in range(2))
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return CutMix(permutation_N=permutation_N, rows=rows, columns=columns, mixing=1 - area / size**2)


def mix(values_NCGG: Tensor, cutmix: CutMix) -> None:
    """The box of every slice becomes its partner's, in place."""
    partners = cutmix.permutation_N.to(values_NCGG.device, non_blocking=True)
    box = values_NCGG[:, :, cutmix.rows, cutmix.columns]
    box.copy_(box[partners])


def _cut(middle: int, half: int, size: int) -> slice:
    return slice(max(0, middle - half), min(size, middle + half))
