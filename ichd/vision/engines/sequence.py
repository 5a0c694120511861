"""The sequence model and its calibration: the small end of the network, in fp32 torch beside every engine."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ichd.domain.finding import CLASSES
from ichd.vision.manifest import Calibration, Manifest
from ichd.vision.network import CnnLstm


@dataclass(frozen=True, kw_only=True)
class OutputCalibration:
    """How a network's logits become those of `CLASSES`: logit[order] * scale + bias, a class each."""

    #: Which of the network's outputs it is.
    order: tuple[int, ...]
    scales: tuple[float, ...]
    biases: tuple[float, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """As the manifest says; a class that it doesn't calibrate stays as it is."""
        calibrations = [manifest.calibration.get(name, Calibration()) for name in CLASSES]
        return cls(
            order=tuple(manifest.classes.index(name) for name in CLASSES),
            scales=tuple(c.scale for c in calibrations),
            biases=tuple(c.bias for c in calibrations),
        )


class SequenceHead:
    """Embeddings of one whole scan to calibrated probabilities."""

    def __init__(self, network: CnnLstm, manifest: Manifest, device: torch.device) -> None:
        """Uses the network's decoder alone; `device` is where it lies."""
        self._network = network
        self._device = device
        self._calibration = OutputCalibration.of(manifest)

    @torch.inference_mode()
    def classify(self, embeddings_SF: NDArray[np.float32], z_mm: Sequence[float] | None = None) -> NDArray[np.float64]:
        """Probabilities [S, 6], inferior slice first, in the order of `CLASSES`.

        `z_mm` [S] are the slices' positions; None stands for slices that are evenly 5 mm apart.
        """
        with repeatable():
            on_device = torch.from_numpy(embeddings_SF).to(self._device)
            gap_mm_S = gaps(z_mm, len(embeddings_SF)).to(self._device)
            logits_SC = (
                self._network.classify(on_device, gap_mm=gap_mm_S).double().cpu().numpy()[:, self._calibration.order]
            )
        calibrated_SC = logits_SC * np.array(self._calibration.scales) + np.array(self._calibration.biases)
        # tanh never overflows, however sure the network is.
        probabilities: NDArray[np.float64] = 0.5 * (1 + np.tanh(calibrated_SC / 2))
        return probabilities


def gaps(z_mm: Sequence[float] | None, slices: int) -> Tensor:
    """Distance of each slice to the one below, mm, float32 [S]; 0 for the first. None: evenly 5 mm apart."""
    positions = torch.tensor([5.0 * place for place in range(slices)] if z_mm is None else z_mm, dtype=torch.float64)
    return positions.diff(prepend=positions[:1]).float()


@contextmanager
def repeatable() -> Iterator[None]:
    """Inside, nothing is autotuned and nothing is TF32: equal from run to run, and close to the CPU in fp32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
