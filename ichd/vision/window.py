"""Display windows on CT numbers, in numpy only, so that pages can draw slices without the network's libraries."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

#: CT's lower end: what lies below is air, padding or both, and is raised to this.
LEAST_HU = -1024


@dataclass(frozen=True, kw_only=True)
class Window:
    """A band of Hounsfield units that is stretched over 0 to 1.

    The bounds use whole-number halves of the width (paper, preprocessing), so a window of odd width tops out just
    below 1: subdural 75/215 runs from -32 to 182 HU and reaches 214/215. Kept, because weights were trained on it.
    """

    #: Unknown keys in a manifest are errors, in nested values as well.
    __pydantic_config__: ClassVar[dict[str, str | bool]] = {"extra": "forbid", "strict": True}

    name: str
    #: Centre, HU.
    level: int
    #: HU.
    width: int

    def __post_init__(self) -> None:
        if self.width < 2:
            raise ValueError(f"window {self.name!r} has width {self.width}; at least 2 HU are needed")

    @property
    def low(self) -> int:
        """HU that become 0."""
        return self.level - self.width // 2

    @property
    def high(self) -> int:
        """HU from which on everything is equally bright."""
        return self.level + self.width // 2


BRAIN = Window(name="brain", level=40, width=80)
SUBDURAL = Window(name="subdural", level=75, width=215)
BONE = Window(name="bone", level=600, width=2800)

#: The published model's windows, in this package's channel order.
PAPER_WINDOWS: tuple[Window, ...] = (BRAIN, SUBDURAL, BONE)


def apply_window(hu: NDArray[np.int16] | NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    """Values of 0 to 1, float32, in the shape of `hu` (any shape, HU)."""
    clipped = np.clip(hu, window.low, window.high).astype(np.float32)
    return (clipped - np.float32(window.low)) / np.float32(window.width)
