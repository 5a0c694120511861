"""From a batch of HU to what the network learns from, with the published recipe's changes in between.

One pass of batched tensor operations: HU are brought onto the model's grid by one interpolation through one sampling
grid, then windowed, then noise, blur, standardisation and CutMix. The published order windows first, to 8 bits, and
interpolates the windows; of HU nothing is rounded, and an edge between brain and bone is interpolated once instead of
three times.

What is drawn is drawn on the host and is the same for every device. Only the noise comes from the device's generator:
fields of 512 by 512 by 3 are quicker made there than sent.

Shapes: V windows, S slices, C the network's channels in [N, C, G, G] and the classes in [V, S, C], N = V * S.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ichd.vision.manifest import InputSpec
from ichd.vision.preprocess import sampling_for, windowed
from training.augment.cutmix import draw_cutmix, mix
from training.augment.geometry import draw_geometry, follow
from training.augment.pixels import add_noise, blur, draw_pixel_changes
from training.augment.placement import place, sample
from training.lessons.batch import Batch
from training.lessons.lesson import Lesson
from training.recipe import PaperAugmentation

_SEEDS = 2**62


@torch.no_grad()
def prepare(
    batch: Batch, spec: PaperAugmentation | None, input: InputSpec, seed: int, *, device: torch.device | None = None
) -> Lesson:
    """The lesson of a batch: a function of the batch, the recipe and the seed.

    With `spec` None nothing is changed, and `x_NCGG` is what `ichd.vision.preprocess.prepare` makes: what validation
    measures is what the service will see.

    Args:
        device: where to work; by default where the HU lie. Sizes, centres and lengths are needed on the host: a batch
            that is still there makes the device wait for nothing.
    """
    device = batch.hu_VSHW.device if device is None else device
    hu_VSHW = batch.hu_VSHW.to(device, non_blocking=True)
    # Whatever precision the step around this has: HU in bf16 would come in steps of 8.
    with torch.autocast(device.type, enabled=False):
        if spec is None:
            return _lesson(batch, _standardised(windowed(_plain(batch, hu_VSHW, input), input), input))
        generator = torch.Generator().manual_seed(seed)
        device_seed, mixing_seed = torch.randint(_SEEDS, (2,), generator=generator).tolist()
        real_N = _real(batch)
        geometry = draw_geometry(len(real_N), spec, generator).to(device)
        changes = draw_pixel_changes(len(real_N), spec, generator).only(real_N)
        points_NGG2, inside_NGG = follow(geometry, input.image_size)
        hu_NGG = sample(hu_VSHW, points_NGG2, inside_NGG, place(batch, input).to(device))
        values_NCGG = windowed(hu_NGG, input)
        add_noise(values_NCGG, changes, torch.Generator(device).manual_seed(device_seed))
        blur(values_NCGG, changes)
        x_NCGG = _standardised(values_NCGG, input)
    if spec.cutmix_alpha == 0:
        return _lesson(batch, x_NCGG)
    cutmix = draw_cutmix(real_N, input.image_size, spec.cutmix_alpha, np.random.default_rng(mixing_seed))
    mix(x_NCGG, cutmix)
    return replace(
        _lesson(batch, x_NCGG),
        mixed_with_N=cutmix.permutation_N.to(device, non_blocking=True),
        own_share=cutmix.mixing,
        box=(cutmix.rows, cutmix.columns),
    )


def _lesson(batch: Batch, x_NCGG: Tensor) -> Lesson:
    device = x_NCGG.device
    return Lesson(
        x_NCGG=x_NCGG,
        lengths_V=batch.lengths_V.to(device, non_blocking=True),
        gap_VS=batch.gap_VS.to(device, non_blocking=True),
        target_VSC=batch.target_VSC.to(device, non_blocking=True),
        weight_VSC=batch.weight_VSC.to(device, non_blocking=True),
        somewhere_VC=batch.somewhere_VC.to(device, non_blocking=True),
        names=batch.names,
    )


def _real(batch: Batch) -> Tensor:
    """Which slices are no padding, bool [N], on the host."""
    slices = batch.hu_VSHW.shape[1]
    return (torch.arange(slices)[None, :] < batch.lengths_V.cpu()[:, None]).flatten()


def _plain(batch: Batch, hu_VSHW: Tensor, input: InputSpec) -> Tensor:
    """HU on the grid, float32 [N, G, G], by the service's own resampling; once a window, whose images are alike."""
    resampled = []
    facts = zip(batch.size_V2.tolist(), batch.spacing_V2.tolist(), batch.centre_V2.tolist(), strict=True)
    for hu_SHW, ((rows, columns), (between_rows, between_columns), (row, column)) in zip(hu_VSHW, facts, strict=True):
        # The centre is given, so only the shape is looked at.
        alike = np.empty((1, rows, columns), dtype=np.int16)
        sampling = sampling_for(alike, (between_rows, between_columns), input, centre=(row, column)).to(hu_SHW.device)
        resampled.append(sampling.resample(hu_SHW[:, :rows, :columns][:, sampling.rows, sampling.columns]))
    return torch.cat(resampled)


def _standardised(values_NCGG: Tensor, input: InputSpec) -> Tensor:
    """Channels last, as convolutions on a GPU read them quickest."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (input.mean, input.std))
    device = values_NCGG.device
    standardised = (values_NCGG - mean.to(device, non_blocking=True)) / std.to(device, non_blocking=True)
    return standardised.contiguous(memory_format=torch.channels_last)
