"""What every engine can do.

Shapes: S slices of a scan, H W image pixels, F features, 6 classes.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ichd.vision.bundle import Bundle
from ichd.vision.preprocess import HU, Point


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

    def warm_up(self) -> None:
        """Do all that happens once, so that no study waits for it."""

    def embed(
        self, hu_SHW: HU, pixel_spacing_mm: tuple[float, float], *, centre: Point | None = None
    ) -> NDArray[np.float32]:
        """Embeddings [S, F] of slices in canonical orientation; `centre` as in `ichd.vision.preprocess.resample_hu`."""

    def classify(self, embeddings_SF: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated probabilities [S, 6] of one whole scan, inferior slice first, in the order of `CLASSES`."""
