"""From studies to lessons on the device: read beside the loop, changed where that is quickest."""

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import torch
from torch.utils.data import DataLoader, Dataset

from ichd.domain.errors import UserError
from training.augment.lessons import lesson_of
from training.lessons.batch import Batch
from training.lessons.course import Course, MicroBatch
from training.lessons.lesson import Lesson
from training.lessons.source import Source
from training.memory import keep_freed_memory
from training.recipe import Recipe

#: What is made beside the loop; an error that names its mend travels as one.
Delivery = tuple[MicroBatch, Batch | Lesson | UserError]

#: Batches that wait beside the loop, for each process that makes them.
_AHEAD = 4


def deliver(
    source: Source, course: Course, recipe: Recipe, *, rank: int, first_update: int, device: torch.device
) -> Iterator[tuple[MicroBatch, Lesson]]:
    """The micro-batches of one process from `first_update` on, on its device.

    A GPU changes and windows them itself, so that the host only reads, decompresses and copies. On a CPU the processes
    that read do it, beside the loop's own core. Either way it is the same function of the same seed.
    """
    on_host = device.type == "cpu"
    deliveries = _Deliveries(source, course, recipe, rank, first_update, change=on_host)
    processes = recipe.data.processes if recipe.data.kind == "packed" else 1
    loader = DataLoader(
        deliveries,
        batch_size=None,
        shuffle=False,
        num_workers=processes,
        prefetch_factor=_AHEAD if processes else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=_prepare_worker,
    )
    for made in loader:
        micro, delivered = cast(Delivery, made)
        if isinstance(delivered, UserError):
            raise delivered
        if isinstance(delivered, Batch):
            delivered = lesson_of(delivered, recipe, seed=micro.seed, device=device)
        yield micro, delivered.to(device)


class _Deliveries(Dataset[Delivery]):
    """Micro-batches by their place in one process's course; any worker may make any of them."""

    def __init__(
        self, source: Source, course: Course, recipe: Recipe, rank: int, first_update: int, *, change: bool
    ) -> None:
        self._source, self._course, self._recipe, self._change = source, course, recipe, change
        self._rank, self._first_update = rank, first_update
        self._each = course.micro_batches // course.processes

    def __len__(self) -> int:
        return (self._course.updates - self._first_update) * self._each

    def __getitem__(self, place: int) -> Delivery:
        update, index = divmod(place, self._each)
        every = list(self._course.of_update(self._first_update + update))
        micro = replace(every[self._rank + index * self._course.processes], last=index + 1 == self._each)
        try:
            batch = self._source.batch(micro)
        except UserError as error:
            # Raised here, it would reach a person as the end of a worker's traceback.
            return micro, error
        if isinstance(batch, Lesson) or not self._change:
            return micro, batch
        return micro, lesson_of(batch, self._recipe, seed=micro.seed)


def _prepare_worker(_worker: int) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
