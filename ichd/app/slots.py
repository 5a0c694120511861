"""Workers side by side on one machine: each has a slot, by which GPUs and processor cores are dealt out.

They are processes, and no threads of one: a study that kills its reader (a driver that aborts, memory that runs out)
must not take the neighbours' studies with it, and each gives its memory back when it ends.
"""

import os
import re
from dataclasses import dataclass
from typing import Self

from ichd.domain.errors import UserError
from ichd.settings import ModelSettings, Settings

_FORM = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})")


@dataclass(frozen=True, kw_only=True)
class Slot:
    """The place of one worker among those of its supervisor."""

    #: Counted from 1.
    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of "2/4", as `str` writes it.

        Raises:
            UserError: it is none.
        """
        found = _FORM.fullmatch(text)
        if found is None or int(found[1]) > int(found[2]):
            raise UserError(f"--slot {text!r} is none; write NUMBER/OF, as in 2/4")
        return cls(number=int(found[1]), of=int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def name(self) -> str:
        """In logs, leases and under the supervisor."""
        return "worker" if self.of == 1 else f"worker-{self.number}"


def seated(settings: Settings, slot: Slot, *, gpus: int, cores: int) -> Settings:
    """The settings as the worker of this slot works under them: a GPU of its own where there are several, else a share.

    What the settings name exactly (`cuda:1`, a number of threads) is theirs to say, and stays.
    """
    if slot.of == 1:
        return settings
    model = settings.model
    dealt: dict[str, object] = {}
    if gpus > 1 and _takes_any_gpu(model):
        dealt["device"] = f"cuda:{(slot.number - 1) % gpus}"
    if model.threads is None:
        dealt["threads"] = max(cores // slot.of, 1)
    return settings.model_copy(update={"model": model.model_copy(update=dealt)})


def cores_here() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _takes_any_gpu(model: ModelSettings) -> bool:
    """Auto falls back to the processor for what no GPU has, and a device by its number does not."""
    if model.device == "cuda":
        return True
    return model.device == "auto" and model.engine != "openvino" and model.precision != "int8"
