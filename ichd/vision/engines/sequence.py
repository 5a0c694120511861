"""The sequence model and its calibration: the small end of the network, in fp32 torch beside every engine."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ichd.domain.finding import CLASSES
from ichd.vision.manifest import Calibration, Manifest
from ichd.vision.network import CnnLstm


class Sequence:
    """Embeddings of one whole scan to calibrated probabilities."""

    def __init__(self, network: CnnLstm, manifest: Manifest, device: torch.device) -> None:
        """Uses the network's decoder alone; `device` is where it lies."""
        self._network = network
        self._device = device
        self._order = [manifest.classes.index(name) for name in CLASSES]
        calibrations = [manifest.calibration.get(name, Calibration()) for name in CLASSES]
        self._scale_C = np.array([c.scale for c in calibrations])
        self._bias_C = np.array([c.bias for c in calibrations])

    @torch.inference_mode()
    def classify(self, embeddings_SF: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities [S, 6], inferior slice first, in the order of `CLASSES`."""
        with repeatable():
            on_device = torch.from_numpy(embeddings_SF).to(self._device)
            logits_SC = self._network.classify(on_device).double().cpu().numpy()[:, self._order]
        calibrated_SC = logits_SC * self._scale_C + self._bias_C
        # tanh never overflows, however sure the network is.
        probabilities: NDArray[np.float64] = 0.5 * (1 + np.tanh(calibrated_SC / 2))
        return probabilities


def repeatable() -> AbstractContextManager[Any]:
    """cuDNN without autotuning and without TF32: equal from run to run, and equal to the CPU in fp32."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
