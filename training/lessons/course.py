"""Which windows of which studies stand behind each update: arithmetic alone, a function of the seed and the place.

So a resumed run learns from what it would have learnt from, and any number of processes shares the same work: an update
is made of micro-batches that know nothing of each other, and a process takes every n-th of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ichd.domain.errors import UserError
from training.recipe import Optimisation


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """What one pass through the network sees."""

    #: Which it is, counted from 0 over the whole run and over all processes.
    number: int
    update: int
    #: Index of each window's study; one may come twice.
    studies: tuple[int, ...]
    #: Slices of each window.
    slices: int
    #: Of the update's windows.
    share: float
    #: For everything that is drawn at random.
    seed: int
    #: The last of its update; in a process that shares the update with others, the last of its own.
    last: bool


@dataclass(frozen=True, kw_only=True)
class Course:
    """All updates of a run.

    Raises:
        UserError: there are more processes than windows behind an update.
    """

    optimisation: Optimisation
    #: To learn from.
    studies: int
    seed: int
    #: Processes that share each update.
    processes: int = 1

    def __post_init__(self) -> None:
        least = self.optimisation.slices_per_update // max(self.optimisation.window_slices)
        if self.processes > max(1, least):
            raise UserError(
                f"{self.processes} processes share {max(1, least)} windows an update; "
                "start fewer, or raise optimisation.slices_per_update"
            )

    @property
    def updates(self) -> int:
        """Changes of the weights: 58,590 of the published run, 30 times 3,906 pairs of micro-batches."""
        if self.optimisation.updates is not None:
            return self.optimisation.updates
        return -(-(self.optimisation.epochs or 0) * self.studies // self._windows_per_update)

    @property
    def micro_batches(self) -> int:
        """Of one update: as many as the recipe accumulates, or the next number that all processes share evenly."""
        return -(-self.optimisation.accumulate // self.processes) * self.processes

    def progress(self, update: int) -> float:
        """How much has been learnt before an update, in epochs, or in updates where the recipe counts these."""
        if self.optimisation.updates is not None:
            return float(update)
        return update * self._windows_per_update / self.studies

    def ends_epoch(self, update: int) -> int | None:
        """The epoch, counted from 1, whose last study is behind this update; the last of a run that has no epochs."""
        if self.optimisation.updates is not None:
            return 1 if update + 1 == self.updates else None
        before, after = int(self.progress(update) + 1e-9), int(self.progress(update + 1) + 1e-9)
        return after if after > before or update + 1 == self.updates else None

    def of_update(self, update: int) -> Iterator[MicroBatch]:
        """The micro-batches of one update, over all processes."""
        count = self.micro_batches
        rng = np.random.default_rng([self.seed, update])
        slices = int(rng.choice(self.optimisation.window_slices))
        windows = max(count, self.optimisation.slices_per_update // slices)
        dealt = np.array_split(self._studies(update, windows, rng), count)
        for index, studies in enumerate(dealt):
            number = update * count + index
            yield MicroBatch(
                number=number,
                update=update,
                studies=tuple(int(study) for study in studies),
                slices=slices,
                share=len(studies) / windows,
                seed=int(np.random.SeedSequence([self.seed, update, index]).generate_state(1, np.uint64)[0] >> 1),
                last=index == count - 1,
            )

    @property
    def _windows_per_update(self) -> int:
        # A recipe that counts epochs has one length of windows.
        return max(self.micro_batches, self.optimisation.slices_per_update // self.optimisation.window_slices[0])

    def _studies(
        self, update: int, windows: int, rng: np.random.Generator
    ) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        if self.optimisation.updates is not None:
            return rng.integers(self.studies, size=windows)
        # One permutation after the other, without a seam: every update is full, every study comes once an epoch.
        places = np.arange(update * windows, (update + 1) * windows)
        orders = {epoch: self._order(int(epoch)) for epoch in np.unique(places // self.studies)}
        return np.array([orders[place // self.studies][place % self.studies] for place in places])

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, epoch, self.studies]).permutation(self.studies)


def window_of(scan_slices: int, slices: int, *, centre: float, step: float = 1.0) -> list[int]:
    """`slices` slice numbers around `centre`, `step` apart, ascending, moved to lie inside the scan.

    Below one slice a step, numbers repeat. A scan that is shorter than the window is taken whole; where steps may be
    smaller than a slice, it is stretched instead, so that every window is full.
    """
    if step == 1.0:
        count = min(slices, scan_slices)
        start = min(max(int(centre) - slices // 2, 0), scan_slices - count)
        return list(range(start, start + count))
    step = min(step, (scan_slices - 1) / (slices - 1)) if slices > 1 else 0.0
    half = step * (slices - 1) / 2
    start_at = min(max(centre, half), scan_slices - 1 - half) - half
    return [min(scan_slices - 1, max(0, round(start_at + step * place))) for place in range(slices)]


def learning_rate(progress: float, length: float, plan: Optimisation) -> float:
    """Linear warm-up times a cosine over the whole length (paper, schedule): lr * min(1, t/w) * (1 + cos(pi t/T)) / 2.

    `progress` t and `length` T are in epochs, or in updates where the recipe counts these, as the warm-up w is.
    """
    warm = min(1.0, progress / plan.warmup) if plan.warmup else 1.0
    # Full updates may lead a little past the last study, where the cosine would rise again.
    return float(plan.learning_rate * warm * (1 + np.cos(np.pi * min(1.0, progress / length))) / 2)
