"""Slices on their way to the device: the next is copied while the last is computed with."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ichd.vision.preprocess import HU

#: Slices that may be under way at once: enough for the copies of a batch to run ahead of its computation.
_SLOTS = 24


@dataclass(kw_only=True)
class _Slot:
    """Room for one slice, on both sides, and how far it has come."""

    #: Pinned, so that the copy needs no help of the processor.
    host: Tensor
    there: Tensor
    #: The copy has left `host` and is in `there`.
    copied: torch.cuda.Event = field(default_factory=torch.cuda.Event)
    #: What was to be computed with `there` has been.
    used: torch.cuda.Event = field(default_factory=torch.cuda.Event)


class Conveyor:
    """Two streams of a CUDA device, one that copies and one that computes; on the CPU nothing is copied."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on_cuda = device.type == "cuda"
        if self._on_cuda:
            self._copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._computing = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def computing(self) -> AbstractContextManager[object]:
        """Inside, torch computes on the stream that waits for the copies."""
        return torch.cuda.stream(self._computing) if self._on_cuda else nullcontext()

    def carry(self, slices: Iterable[HU]) -> Iterator[Tensor]:
        """Each slice on the device, in order; it may be used until the next is asked for, inside `computing`."""
        if not self._on_cuda:
            yield from (torch.from_numpy(np.ascontiguousarray(one)) for one in slices)
            return
        try:
            yield from self._carried(slices)
        finally:
            # Slots go back to torch's pools now, which know of the computing stream alone.
            self._copying.synchronize()

    def _carried(self, slices: Iterable[HU]) -> Iterator[Tensor]:
        slots: list[_Slot] = []
        for number, one in enumerate(slices):
            source = torch.from_numpy(np.ascontiguousarray(one))
            if len(slots) < _SLOTS:
                slots.append(self._slot(source))
            slot = slots[number % _SLOTS]
            # An event that was never recorded is one that has happened: a new slot waits for nothing.
            slot.copied.synchronize()
            slot.host.copy_(source)
            with torch.cuda.stream(self._copying):
                self._copying.wait_event(slot.used)
                slot.there.copy_(slot.host, non_blocking=True)
                slot.copied.record(self._copying)
            self._computing.wait_event(slot.copied)
            yield slot.there
            slot.used.record(self._computing)

    def _slot(self, like: Tensor) -> _Slot:
        """Made on the computing stream, whose turn the copies must wait for before they write into it."""
        slot = _Slot(host=torch.empty_like(like, pin_memory=True), there=torch.empty_like(like, device=self._device))
        slot.used.record(self._computing)
        return slot
