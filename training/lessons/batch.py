"""One micro-batch, as the host hands it to the device.

Shapes: V windows, S slices of the longest window, H W pixels of the largest image, C = 6 classes, K = 5 kinds of bleed.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Windows of slices with what is known of them; nothing is windowed or changed yet."""

    #: int16 HU [V, S, H, W]; what no image fills is air.
    hu_VSHW: Tensor
    #: Rows and columns that each window's images really have, int64 [V, 2]; they lie at the upper left.
    size_V2: Tensor
    #: mm between rows and between columns, float32 [V, 2].
    spacing_V2: Tensor
    #: Middle of the head, (row, column) in pixels, float32 [V, 2].
    centre_V2: Tensor
    #: Slices that are no padding, int64 [V]; they come first.
    lengths_V: Tensor
    #: Distance to the slice below, mm, float32 [V, S]; 0 for the first of a scan and for padding.
    gap_VS: Tensor
    #: 0 or 1, float32 [V, S, C].
    target_VSC: Tensor
    #: How much each label counts: 0 where it is unknown or padding, float32 [V, S, C].
    weight_VSC: Tensor
    #: 1 where a class is in the window for certain, on slices that nobody named, float32 [V, C].
    somewhere_VC: Tensor
    #: Where the blood is, bit k for kind k, uint8 [V, S, g, g]; None where nobody knows.
    label_VSgg: Tensor | None = None
    #: The window's study and its slices, as "ID_a (12-21)": what is named when something goes wrong.
    names: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Self:
        """The same on a device; copies don't wait where the memory is pinned."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same in pinned memory (called by DataLoader)."""
        return self._each(lambda tensor: tensor.pin_memory())

    def slices(self, first: int, end: int) -> Self:
        """Some slices of each window; numbers that lie past the last are left out."""
        return replace(
            self,
            hu_VSHW=self.hu_VSHW[:, first:end],
            gap_VS=self.gap_VS[:, first:end],
            target_VSC=self.target_VSC[:, first:end],
            weight_VSC=self.weight_VSC[:, first:end],
            lengths_V=(self.lengths_V - first).clamp(0, end - first),
            label_VSgg=None if self.label_VSgg is None else self.label_VSgg[:, first:end],
        )

    def _each(self, change: Any) -> Self:
        changed = {f.name: change(value) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        return replace(self, **changed)
