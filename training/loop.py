"""The training loop, to be read from top to bottom.

Shapes: V windows a step, S slices a window, N = V * S, C = 6 classes, K = 5 kinds of bleed.

Bit-reproducible for one recipe, one machine type and one set of library versions, also across a kill: a step's batch is
a function of seed and step, and a checkpoint holds weights, optimiser and average. Another processor, thread count or
version of torch rounds differently, and a run of thousands of steps then ends at other weights of the same quality.
"""

import ctypes
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from ichd.domain.errors import UserError
from ichd.phantom import BLEED_KINDS
from ichd.vision.network import CnnLstm
from ichd.vision.preprocess import normalise
from ichd.vision.starting_point import load_starting_point, start_from
from training.recipe import Loss, Optimisation, Recipe
from training.sampler import Batch, Steps
from training.synthetic import LabelledScan

CHECKPOINT_NAME = "last.ckpt"
#: Prior probability of blood in a map's cell: a head that starts from zero would first unlearn its guess of one half.
_CELL_PRIOR = 0.02
_CELL_POSITIVE_WEIGHT = 3.0


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """Where the loop stands."""

    step: int
    steps: int
    #: Means over the steps since the last report.
    slice_loss: float
    localisation_loss: float
    learning_rate: float
    slices_per_s: float


class Learner(nn.Module):
    """The network with localisation heads on its feature maps, which training drops at the end.

    Raises:
        UserError: the recipe wants maps of a stride that the backbone does not have, or its `init` does not fit.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.network = CnnLstm(recipe.network)
        if recipe.init is not None:
            start_from(self.network, load_starting_point(Path(recipe.init)))
        info = self.network.backbone.feature_info
        by_stride = {part["reduction"]: (index, part["num_chs"]) for index, part in enumerate(info)}
        absent = sorted(set(recipe.loss.localisation_strides) - set(by_stride))
        if absent:
            raise UserError(
                f"loss.localisation_strides names {absent[0]}, but the maps of {recipe.network.backbone} have strides "
                f"{', '.join(map(str, by_stride))}; choose from these"
            )
        self._stages = [by_stride[stride][0] for stride in recipe.loss.localisation_strides]
        self.localisers = nn.ModuleList(_localiser(by_stride[stride][1]) for stride in recipe.loss.localisation_strides)

    def forward(self, x_NCHW: Tensor, slices: int) -> tuple[Tensor, list[Tensor]]:
        """Logits [V, S, 6] and localisation logits [N, K, h, w] of N slices that are V windows of `slices`."""
        maps, stages = self.network.backbone.forward_intermediates(x_NCHW)
        embeddings = self.network.pool(maps)
        logits = self.network.classify(embeddings.reshape(-1, slices, embeddings.shape[-1]))
        return logits, [head(stages[stage]) for head, stage in zip(self.localisers, self._stages, strict=True)]


def fit(
    recipe: Recipe,
    scans: Sequence[LabelledScan],
    folder: Path,
    *,
    on_step: Callable[[StepReport], None] = lambda _report: None,
    report_every: int = 25,
) -> CnnLstm:
    """Train from where the recipe starts, or from the checkpoint in `folder`.

    Returns the averaged network in evaluation mode.
    """
    keep_freed_memory()
    plan = recipe.optimisation
    torch.set_num_threads(plan.threads)
    fabric = Fabric(accelerator="cpu", devices=1, precision=plan.precision)
    fabric.seed_everything(recipe.seed, verbose=False)
    learner = Learner(recipe).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(parameter_groups(learner, plan), lr=plan.learning_rate, eps=plan.epsilon)
    model, optimiser = fabric.setup(learner, optimiser)
    decay = get_ema_multi_avg_fn(plan.average_decay)  # type: ignore[no-untyped-call]
    average = AveragedModel(learner, multi_avg_fn=decay, use_buffers=True)

    progress: dict[str, Any] = {"model": model, "optimiser": optimiser, "average": average, "step": 0}
    checkpoint = folder / CHECKPOINT_NAME
    if checkpoint.is_file():
        fabric.load(checkpoint, progress)
    batches = iter(_loader(Steps(scans, recipe), first=progress["step"]))
    clock, sums, unreported, slices = time.perf_counter(), torch.zeros(2), 0, 0

    for step in range(progress["step"], plan.steps):
        batch = next(batches)
        rate = learning_rate(step, plan)
        for group in optimiser.param_groups:
            group["lr"] = rate
        x = normalise(batch.hu_VSGG.flatten(0, 1), recipe.input).to(memory_format=torch.channels_last)
        logits, maps = model(x, slices=batch.hu_VSGG.shape[1])
        slice_loss = weighted_bce(logits.float(), batch, recipe.loss)
        localisation_loss = localisation(maps, batch.marks_NKhw)
        fabric.backward(slice_loss + recipe.loss.localisation_weight * localisation_loss)
        fabric.clip_gradients(model, optimiser, max_norm=plan.gradient_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update_parameters(learner)

        sums += torch.stack([slice_loss.detach(), localisation_loss.detach()])
        unreported, slices = unreported + 1, slices + len(x)
        if unreported == report_every or step + 1 == plan.steps:
            now = time.perf_counter()
            slice_mean, map_mean = (sums / unreported).tolist()
            on_step(
                StepReport(
                    step=step + 1,
                    steps=plan.steps,
                    slice_loss=slice_mean,
                    localisation_loss=map_mean,
                    learning_rate=rate,
                    slices_per_s=slices / (now - clock),
                )
            )
            clock, sums, unreported, slices = now, torch.zeros(2), 0, 0
        if (step + 1) % plan.checkpoint_every == 0:
            progress["step"] = step + 1
            partial = checkpoint.with_suffix(".partial")
            fabric.save(partial, progress)
            partial.replace(checkpoint)

    trained = cast(Learner, average.module if plan.average_decay else learner)
    return trained.network.eval().requires_grad_(False)


def parameter_groups(module: nn.Module, plan: Optimisation) -> list[dict[str, Any]]:
    """Weight decay on matrices and kernels only: biases and norms have none (paper, training recipe)."""
    decayed = [p for p in module.parameters() if p.ndim >= 2]
    plain = [p for p in module.parameters() if p.ndim < 2]
    return [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": plain, "weight_decay": 0.0}]


def learning_rate(step: int, plan: Optimisation) -> float:
    """Linear warm-up times a cosine to zero over all steps, the form of the paper's schedule."""
    warm = min(1.0, (step + 1) / plan.warmup_steps) if plan.warmup_steps else 1.0
    return plan.learning_rate * warm * (1 + math.cos(math.pi * step / plan.steps)) / 2


def weighted_bce(logits_VSC: Tensor, batch: Batch, spec: Loss) -> Tensor:
    """Binary cross-entropy, classes weighted, mean over the six: 7/6 of the weighted log loss (paper, loss)."""
    each = functional.binary_cross_entropy_with_logits(logits_VSC, batch.target_VSC, reduction="none")
    return (each * batch.weight_VSC * torch.tensor(spec.class_weights)).mean()


def localisation(maps_NKhw: Sequence[Tensor], marks_NKhw: Sequence[Tensor]) -> Tensor:
    """Cross-entropy and Dice of blood's place, a map a stride; blood weighs more, because it is rare."""
    weight = torch.tensor(_CELL_POSITIVE_WEIGHT)
    losses = []
    for logits, marks in zip(maps_NKhw, marks_NKhw, strict=True):
        wide = logits.float()
        crossed = functional.binary_cross_entropy_with_logits(wide, marks, pos_weight=weight)
        shares = wide.sigmoid()
        both, either = (shares * marks).sum(dim=(0, 2, 3)), (shares + marks).sum(dim=(0, 2, 3))
        losses.append(10 * crossed + (1 - (2 * both + 1) / (either + 1)).mean())
    return torch.stack(losses).mean() if losses else torch.zeros(())


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks: returning and faulting in each 6 MB temporary takes most of augmentation's time."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, mmap_threshold, maximum = -1, -3, 1 << 30
    mallopt(mmap_threshold, maximum)
    mallopt(trim_threshold, maximum)


def _localiser(channels: int) -> nn.Conv2d:
    head = nn.Conv2d(channels, len(BLEED_KINDS), 1)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.constant_(cast(Tensor, head.bias), math.log(_CELL_PRIOR / (1 - _CELL_PRIOR)))
    return head


def _loader(steps: Steps, first: int) -> DataLoader[Batch]:
    """Batches are made one process beside the loop: its step is one core's work, and theirs a quarter of another's."""
    return DataLoader(
        steps,
        batch_size=None,
        sampler=range(first, len(steps)),
        num_workers=1,
        prefetch_factor=4,
        worker_init_fn=_prepare_worker,
    )


def _prepare_worker(_worker: int) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
