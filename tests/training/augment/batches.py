"""Batches for the tests of this room."""

import torch

from ichd.vision.preprocess import AIR_HU
from training.lessons.batch import Batch
from training.recipe import PaperAugmentation

#: The published recipe with every change left out.
STILL = PaperAugmentation(
    crop_share=0.0, flip_share=0.0, warp_share=0.0, noise_share=0.0, blur_share=0.0, cutmix_alpha=0.0
)


def still(**shares: object) -> PaperAugmentation:
    """Nothing but the named changes."""
    return STILL.model_copy(update=shares)


def smooth(windows: int, slices: int, rows: int, columns: int, *, seed: int = 0) -> torch.Tensor:
    """Slowly changing HU within and around the brain window, int16 [V, S, H, W]: interpolation errs little on it."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((windows, slices, 5, 5), generator=generator)
    fine = torch.nn.functional.interpolate(coarse, (rows, columns), mode="bicubic", align_corners=True)
    return (100 * fine).to(torch.int16)


def batch_of(
    hu_VSHW: torch.Tensor,
    *,
    lengths: list[int] | None = None,
    sizes: list[tuple[int, int]] | None = None,
    spacing: tuple[float, float] = (0.5, 0.5),
    centres: list[tuple[float, float]] | None = None,
) -> Batch:
    """A batch of these HU; what lies outside a window's size or length becomes air. Labels are drawn."""
    windows, slices, rows, columns = hu_VSHW.shape
    lengths = lengths or [slices] * windows
    sizes = sizes or [(rows, columns)] * windows
    hu = torch.full_like(hu_VSHW, int(AIR_HU))
    weight = torch.zeros(windows, slices, 6)
    for window, (length, (height, width)) in enumerate(zip(lengths, sizes, strict=True)):
        hu[window, :length, :height, :width] = hu_VSHW[window, :length, :height, :width]
        weight[window, :length] = 1
    generator = torch.Generator().manual_seed(5)
    return Batch(
        hu_VSHW=hu,
        size_V2=torch.tensor(sizes),
        spacing_V2=torch.tensor([spacing] * windows),
        centre_V2=torch.tensor(centres or [((height - 1) / 2, (width - 1) / 2) for height, width in sizes]),
        lengths_V=torch.tensor(lengths),
        gap_VS=torch.zeros(windows, slices),
        target_VSC=torch.randint(0, 2, (windows, slices, 6), generator=generator).float() * weight,
        weight_VSC=weight,
        somewhere_VC=torch.zeros(windows, 6),
        names=tuple(f"ID_{window} (1-{slices})" for window in range(windows)),
    )
