"""What the network sees of a micro-batch, and what it is to say: changed, windowed, normalised, perhaps mixed.

Shapes: V windows, S slices, N = V * S, C channels or the 6 classes, G the model's grid, K = 5 kinds of bleed.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One micro-batch, ready for the network."""

    #: float32 [N, C, G, G], slice after slice, window after window; or embeddings [N, F] that no longer change.
    x_NCGG: Tensor
    #: As in `Batch`.
    lengths_V: Tensor
    gap_VS: Tensor
    target_VSC: Tensor
    weight_VSC: Tensor
    somewhere_VC: Tensor
    #: CutMix: which slice is inside the box of each, int64 [N], and the share of the image that is still its own.
    mixed_with_N: Tensor | None = None
    own_share: float = 1.0
    #: Its rows and columns, on the model's grid.
    box: tuple[slice, slice] | None = None
    #: Where the blood is, 0 or 1, float32 [N, K, g, g]; None where nobody knows.
    marks_NKgg: Tensor | None = None
    names: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        changed: dict[str, Any] = {
            f.name: value.to(device, non_blocking=True)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **changed)
