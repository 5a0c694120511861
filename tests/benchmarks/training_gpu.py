"""The GPU's part of `tests/benchmarks/training.py`: how busy packed data keep it, and the hours of a whole run.

A step is what the GPU does with one micro-batch int16 HU [5, 10, 512, 512]: copy, augment, window, forward, backward,
and every second time the optimiser: the loop's own pieces, in the loop's order.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ichd.domain.finding import CLASSES
from ichd.vision.manifest import InputSpec, NetworkSpec
from ichd.vision.network import CnnLstm
from ichd.vision.preprocess import normalise
from ichd.vision.published import BACKBONES
from tests.benchmarks.figures import Figure
from training.augment.lessons import lesson_of
from training.checkpoint import Training
from training.launch import launch
from training.learner import Learner, losses
from training.lessons.batch import Batch
from training.recipe import load_recipe

#: (paper, training recipe) 30 epochs of 3,906 iterations, gradients accumulated over two.
_UPDATES, _SLICES_PER_UPDATE = 58_590, 100
_WARM_UP = 5

#: One micro-batch on the host to an accumulated gradient, or an update.
Step = Callable[[Tensor], None]

_KEYS = ("gpu_busy", "ratio_step", *(f"projected_hours_{name}" for name in BACKBONES))


def gpu_figures(loader: Callable[[], Iterable[Tensor]]) -> tuple[dict[str, Figure], dict[str, str]]:
    """Figures, and why there are none. `loader` gives the micro-batches anew."""
    if not torch.cuda.is_available():
        return dict.fromkeys(_KEYS), dict.fromkeys(_KEYS, "no GPU at hand")
    figures: dict[str, Figure] = {}
    for name, backbone in BACKBONES.items():
        rate, busy = _measured(our_step(name), loader())
        figures[f"projected_hours_{name}"] = round(_UPDATES * _SLICES_PER_UPDATE / rate / 3600, 2)
        if name == "resnet50":
            plain, _ = _measured(plain_step(backbone), loader())
            figures |= {"gpu_busy": round(busy, 3), "ratio_step": round(rate / plain, 2)}
    return figures, {}


def our_step(name: str, *, device: str = "cuda", changes: Mapping[str, Any] = MappingProxyType({})) -> Step:
    """The step of the shipped recipe of this name, from random weights."""
    recipe = load_recipe(name, {"init": None, **changes})
    fabric = launch(recipe, device=device)
    training = Training.start(recipe, Learner, fabric)
    seeds = count()

    def step(hu_VSHW: Tensor) -> None:
        place = next(seeds)
        last = (place + 1) % recipe.optimisation.accumulate == 0
        lesson = lesson_of(_batch(hu_VSHW), recipe, seed=place, device=fabric.device)
        loss = losses(training.model(lesson.x_NCGG, lesson.lengths_V, lesson.gap_VS), lesson, recipe.loss)
        fabric.backward(loss.total / recipe.optimisation.accumulate)
        if last:
            training.optimiser.step()
            training.optimiser.zero_grad(set_to_none=True)

    return step


def _batch(hu_VSHW: Tensor) -> Batch:
    """Labels cost nothing: none is positive."""
    windows, slices, rows, columns = hu_VSHW.shape
    labels = torch.zeros(windows, slices, len(CLASSES))
    return Batch(
        hu_VSHW=hu_VSHW,
        size_V2=torch.tensor([[rows, columns]] * windows),
        spacing_V2=torch.full((windows, 2), 0.5),
        centre_V2=torch.tensor([[(rows - 1) / 2, (columns - 1) / 2]] * windows),
        lengths_V=torch.full((windows,), slices),
        gap_VS=torch.full((windows, slices), 5.0),
        target_VSC=labels,
        weight_VSC=torch.ones_like(labels),
        somewhere_VC=torch.zeros(windows, len(CLASSES)),
    )


def plain_step(backbone: str) -> Step:
    """The loop as most people would write it: fp32, images before channels, no augmentation counted against it."""
    network = CnnLstm(NetworkSpec(backbone=backbone)).cuda().train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2, eps=1e-3)

    def step(hu_VSHW: Tensor) -> None:
        views, slices = hu_VSHW.shape[:2]
        x_NCHW = normalise(hu_VSHW.cuda().flatten(0, 1).float(), InputSpec())
        logits_VSC = network.classify(network.embed(x_NCHW).reshape(views, slices, -1))
        loss = functional.binary_cross_entropy_with_logits(logits_VSC, torch.zeros_like(logits_VSC))
        torch.autograd.backward(loss)
        optimiser.step()
        optimiser.zero_grad()

    return step


def _measured(step: Step, batches: Iterable[Tensor]) -> tuple[float, float]:
    """Slices a second, and the share of the time in which the GPU worked on a step."""
    # torch's events are untyped.
    event: Any = torch.cuda.Event
    marks: list[tuple[Any, Any]] = []
    started, slices = 0.0, 0
    for index, batch in enumerate(batches):
        if index == _WARM_UP:
            torch.cuda.synchronize()
            marks.clear()
            started, slices = time.perf_counter(), 0
        before, after = event(enable_timing=True), event(enable_timing=True)
        before.record()
        step(batch)
        after.record()
        marks.append((before, after))
        slices += batch.shape[0] * batch.shape[1]
    torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return slices / seconds, sum(a.elapsed_time(b) for a, b in marks) / 1000 / seconds
