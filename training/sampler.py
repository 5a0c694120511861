"""Which slices a step learns from: a function of the seed and the step alone, so that a resumed run sees the same.

Shapes: V windows, S slices a window, G the model's grid, g the labels' grid, C = 6 classes, K = 5 kinds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from training.augment import augment
from training.recipe import Recipe
from training.synthetic import LabelledScan

#: In a bleeding scan this share of the windows is centred on blood, the rest anywhere.
_ON_BLOOD_SHARE = 0.6


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step learns from; HU are augmented but not yet windowed."""

    #: float32 [V, S, G, G].
    hu_VSGG: Tensor
    #: 0 or 1, float32 [V, S, C].
    target_VSC: Tensor
    #: Weight of each label, float32 [V, S, C].
    weight_VSC: Tensor
    #: Where the blood is on maps of every localisation stride, float32 [V * S, K, h, w], in the recipe's order.
    marks_NKhw: tuple[Tensor, ...]


class Steps(Dataset[Batch]):
    """The batches of a run by step number; any process may make any of them."""

    def __init__(self, scans: Sequence[LabelledScan], recipe: Recipe) -> None:
        self._scans = scans
        self._recipe = recipe

    def __len__(self) -> int:
        return self._recipe.optimisation.steps

    def __getitem__(self, step: int) -> Batch:
        recipe = self._recipe
        rng = np.random.default_rng([recipe.seed, step])
        slices = int(rng.choice(recipe.optimisation.window_slices))
        chosen = rng.integers(len(self._scans), size=max(1, recipe.optimisation.slices_per_step // slices))
        windows = [self._window(self._scans[index], slices, rng) for index in chosen]
        hu, label, presence, faint = (torch.stack(parts) for parts in zip(*windows, strict=True))
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        hu, marks = augment(hu, label, recipe.augmentation, generator)
        planes = marks.flatten(0, 1)
        return Batch(
            hu_VSGG=hu,
            target_VSC=presence.float(),
            weight_VSC=torch.where(faint, recipe.loss.faint_weight, 1.0),
            marks_NKhw=tuple(
                functional.adaptive_max_pool2d(planes, -(-recipe.input.image_size // stride))
                for stride in recipe.loss.localisation_strides
            ),
        )

    def _window(
        self, scan: LabelledScan, count: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        on_blood = torch.nonzero(scan.presence_SC[:, 0]).flatten().numpy()
        anywhere = len(on_blood) == 0 or rng.random() >= _ON_BLOOD_SHARE
        centre = rng.uniform(0, len(scan) - 1) if anywhere else float(rng.choice(on_blood))
        step = float(rng.choice(self._recipe.augmentation.slice_steps))
        slices = window_slices(len(scan), count, centre=centre, step=step)
        index = torch.tensor(slices)
        return scan.hu(slices), scan.label(slices), scan.presence_SC[index], scan.faint_SC[index]


def window_slices(scan_slices: int, window: int, *, centre: float, step: float) -> list[int]:
    """`window` slice numbers around `centre`, `step` apart, ascending, moved to lie inside the scan.

    Below one slice a step, numbers repeat; a scan shorter than the window repeats as well: every window is full.
    """
    step = min(step, (scan_slices - 1) / (window - 1)) if window > 1 else 0.0
    half = step * (window - 1) / 2
    start = min(max(centre, half), scan_slices - 1 - half) - half
    return [min(scan_slices - 1, max(0, round(start + step * place))) for place in range(window)]
