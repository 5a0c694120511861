"""What may end a run before its end: a signal, or a loss that is no number. And when it is time to save."""

import json
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ichd.domain.errors import IchdError

#: Processes agree on stopping and saving this often, in updates: each time, they wait for one another.
_AGREE_EVERY = 10
DIVERGED_NAME = "diverged.json"


class Interrupted(IchdError):
    """The run was told to stop, and has saved; the same command goes on from there."""


class Diverged(IchdError):
    """The loss is no number any more; names the studies behind it."""


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list that SIGTERM and SIGINT are put into, instead of ending the process on the spot."""
    heard: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if heard:
            # Asked twice, somebody is in a hurry.
            raise KeyboardInterrupt
        heard.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Agreement:
    """Whether to save now, and whether to stop: one answer for all processes, because saving is done together."""

    def __init__(self, fabric: Fabric, stops: Sequence[int], *, save_every_min: float) -> None:
        self._fabric, self._stops, self._every_s = fabric, stops, 60 * save_every_min
        self._saved = time.monotonic()

    def ask(self, update: int) -> tuple[bool, bool]:
        """(save, stop) after an update."""
        due = time.monotonic() - self._saved >= self._every_s
        wishes = torch.tensor([float(due), float(bool(self._stops))], device=self._fabric.device)
        if self._fabric.world_size > 1:
            if (update + 1) % _AGREE_EVERY:
                return False, False
            wishes = torch.as_tensor(self._fabric.all_reduce(wishes, reduce_op="sum"))
        save, stop = (wishes > 0).tolist()
        if save:
            self._saved = time.monotonic()
        return save or stop, stop


class LossWatch:
    """Looks at each update's loss one update later, so that the device never waits to be asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pending: tuple[int, Tensor, tuple[str, ...]] | None = None

    def saw(self, update: int, loss: Tensor, names: tuple[str, ...]) -> None:
        """Check the update before, and remember this one.

        Raises:
            Diverged: the loss before was no number; `diverged.json` has the update and the windows.
        """
        self.settle()
        self._pending = (update, loss.detach(), names)

    def settle(self) -> None:
        """Check what is remembered: before saving, and at the end."""
        if self._pending is None:
            return
        (update, loss, names), self._pending = self._pending, None
        value = float(loss)
        if math.isfinite(value):
            return
        place = self._folder / DIVERGED_NAME
        place.write_text(json.dumps({"update": update, "loss": str(value), "windows": names}, indent=2) + "\n")
        raise Diverged(
            f"the loss of update {update + 1} is {value}; its windows are in {place}: {', '.join(names[:5])}"
            f"{' ...' if len(names) > 5 else ''}. The last checkpoint is from before; look at these studies, or "
            "lower optimisation.learning_rate"
        )
