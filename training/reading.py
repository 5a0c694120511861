"""A network that still learns, in front of scans whose truth is known.

Shapes: S slices of a scan, N slices or scans, C = 6 classes in the order of `ichd.domain.finding.CLASSES`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ichd.domain.errors import UserError
from ichd.vision.manifest import Calibration
from ichd.vision.network import CnnLstm
from training.augment.lessons import plain_lesson_of
from training.calibration import calibrated
from training.lessons.batch import Batch
from training.lessons.lesson import Lesson
from training.lessons.source import Source
from training.measures.basic import Flags, Floats, scan_level
from training.memory import keep_freed_memory
from training.recipe import Recipe

#: Slices that go through the CNN together.
_SLICES_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What a network said beside what is known: one array [S, C] a scan."""

    logits_SC: tuple[Floats, ...]
    truth_SC: tuple[Flags, ...]
    #: Whether anybody knows the truth.
    known_SC: tuple[Flags, ...]
    #: What a scan has as a whole, [N, C].
    scan_truth: Flags

    @property
    def slice_logits(self) -> Floats:
        """All slices of all scans, [N, C]."""
        return np.concatenate(self.logits_SC)

    @property
    def slice_truth(self) -> Flags:
        return np.concatenate(self.truth_SC)

    @property
    def slice_known(self) -> Flags:
        return np.concatenate(self.known_SC)

    @property
    def scan_known(self) -> Flags:
        """Whether it is known of a scan what it has as a whole, [N, C]: of all its slices, or of the scan itself."""
        return np.array([known_SC.all(axis=0) for known_SC in self.known_SC]) | self.scan_truth

    def slice_probabilities(self, calibration: Mapping[str, Calibration]) -> Floats:
        """[N, C] of all slices."""
        return calibrated(self.slice_logits, calibration)

    def scan_probabilities(self, calibration: Mapping[str, Calibration]) -> Floats:
        """The highest slice of each scan, [N, C]."""
        return np.asarray(scan_level([calibrated(scan, calibration) for scan in self.logits_SC]), dtype=np.float64)


def read(network: CnnLstm, source: Source, recipe: Recipe, fabric: Fabric) -> Readings:
    """Every scan as one sequence, as the engine reads it; the processes share the scans, and all get the answer."""
    training = network.training
    network.eval()
    try:
        mine = list(_read(network, source, recipe, fabric))
    finally:
        network.train(training)
    logits, truth, known, somewhere = zip(*_gathered(mine, fabric), strict=True)
    # A scan has what one of its slices has, or what it was said to have as a whole.
    scan_truth = np.array([truth_SC.any(axis=0) | some_C for truth_SC, some_C in zip(truth, somewhere, strict=True)])
    return Readings(logits_SC=logits, truth_SC=truth, known_SC=known, scan_truth=scan_truth)


@torch.inference_mode()
def embed(
    network: CnnLstm, source: Source, recipe: Recipe, fabric: Fabric, indices: Sequence[int]
) -> Iterator[tuple[int, Batch, Tensor]]:
    """Some scans, each with its index and its embeddings [S, F] on the device; in evaluation mode, nothing changed."""
    network.eval()
    for index, scan in zip(indices, _scans(source, recipe, indices), strict=True):
        if isinstance(scan, Lesson):
            raise TypeError("these scans are embedded already")
        with fabric.autocast():
            yield index, scan, torch.cat(list(_embedded(network, scan, recipe, fabric.device)))


@torch.inference_mode()
def _read(
    network: CnnLstm, source: Source, recipe: Recipe, fabric: Fabric
) -> Iterator[tuple[Floats, Flags, Flags, Flags]]:
    mine = range(fabric.global_rank, len(source), fabric.world_size)
    for scan in _scans(source, recipe, mine):
        with fabric.autocast():
            parts = (
                [scan.x_NCGG.to(fabric.device)]
                if isinstance(scan, Lesson)
                else _embedded(network, scan, recipe, fabric.device)
            )
            logits_SC: Tensor = network.classify(torch.cat(list(parts)), gap_mm=scan.gap_VS[0].to(fabric.device))
        known = (scan.weight_VSC[0] > 0).numpy()
        truth, somewhere = scan.target_VSC[0].bool().numpy(), scan.somewhere_VC[0].bool().numpy()
        yield logits_SC.double().cpu().numpy(), truth, known, somewhere


def _embedded(network: CnnLstm, batch: Batch, recipe: Recipe, device: torch.device) -> Iterator[Tensor]:
    """Embeddings of a scan, some slices at a time: a long one would not fit at once."""
    for first in range(0, batch.hu_VSHW.shape[1], _SLICES_AT_ONCE):
        some = batch.slices(first, first + _SLICES_AT_ONCE)
        yield network.embed(plain_lesson_of(some, recipe, device=device).x_NCGG)


def _scans(source: Source, recipe: Recipe, indices: Sequence[int]) -> Iterator[Batch | Lesson]:
    processes = recipe.data.processes if recipe.data.kind == "packed" else 0
    loader = DataLoader(
        _Scans(source), batch_size=None, sampler=indices, num_workers=processes, worker_init_fn=_prepare_worker
    )
    for scan in loader:
        if isinstance(scan, UserError):
            raise scan
        yield scan


class _Scans(Dataset[Batch | Lesson | UserError]):
    def __init__(self, source: Source) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Batch | Lesson | UserError:
        try:
            return self._source.scan(index)
        except UserError as error:
            # Raised here, it would reach a person as the end of a worker's traceback.
            return error


def _prepare_worker(_worker: int) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()


def _gathered(mine: list[Any], fabric: Fabric) -> list[Any]:
    """Every process's scans, in the scans' own order: process r has read the scans r, r + n, r + 2 n."""
    if fabric.world_size == 1:
        return mine
    every: list[list[Any]] = [[] for _ in range(fabric.world_size)]
    torch.distributed.all_gather_object(every, mine)
    return [every[place % len(every)][place // len(every)] for place in range(sum(map(len, every)))]
