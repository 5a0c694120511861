"""What every engine can do.

Shapes: S slices of a scan, H W image pixels, F features, 6 classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ichd.vision.bundle import Bundle
from ichd.vision.preprocess import HU, Point


@dataclass(frozen=True, kw_only=True)
class Part:
    """Slices of one scan in canonical orientation."""

    #: [S, H, W].
    hu_SHW: HU
    #: Between rows, between columns.
    pixel_spacing_mm: tuple[float, float]
    #: As in `ichd.vision.preprocess.resample_hu`.
    centre: Point | None = None


class Engine(Protocol):
    """Runs one bundle on one device; the same input gives the same bits from run to run.

    What comes out for a slice does not depend on the slices beside it: embeddings that were made one by one while a
    study arrived are those that would be made of the whole scan.
    """

    @property
    def bundle(self) -> Bundle:
        """The model that it runs."""

    @property
    def name(self) -> str:
        """Library, device and precision, as in "torch-cpu-fp32"."""

    @property
    def fingerprint(self) -> str:
        """Digits over all that an embedding depends on beside the slice: weights, input, library, precision.

        Embeddings of equal fingerprint may stand for one another.
        """

    @property
    def at_once(self) -> int:
        """How many slices take about as long together as one."""

    def warm_up(self) -> None:
        """Do all that happens once, so that no study waits for it."""

    def embed(self, parts: Sequence[Part]) -> list[NDArray[np.float32]]:
        """Embeddings [S, F] of each part; slices of several scans are seen together."""

    def classify(
        self, embeddings_SF: NDArray[np.float32], *, z_mm: Sequence[float] | None = None
    ) -> NDArray[np.float64]:
        """Calibrated probabilities [S, 6] of one whole scan, inferior slice first, in the order of `CLASSES`.

        `z_mm` [S] are the slices' positions, which some models look at; None: evenly 5 mm apart.
        """
