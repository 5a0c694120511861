"""Engines run a bundle's network: windows to embeddings, embeddings to probabilities."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.bundle import Bundle
from ichd.vision.manifest import Calibration


class TorchEngine:
    """torch in fp32, on CUDA where there is one, else on the CPU; the same input gives the same bits from run to run.

    Raises:
        UserError: the device is not there.
        Permanent: MODEL_UNUSABLE, the bundle's weights don't fit its network.
    """

    def __init__(self, bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> None:
        """`device` is "auto", "cpu" or "cuda[:N]"; `threads` sets torch's for the whole process, as torch does."""
        if threads is not None:
            torch.set_num_threads(threads)
        self.bundle = bundle
        self.device = _device(device)
        # Convolutions are quickest on both kinds of device when a pixel's channels lie side by side.
        self._network = bundle.network().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._order = [bundle.manifest.classes.index(name) for name in CLASSES]
        calibrations = [bundle.manifest.calibration.get(name, Calibration()) for name in CLASSES]
        self._scale_C = np.array([c.scale for c in calibrations])
        self._bias_C = np.array([c.bias for c in calibrations])

    @torch.inference_mode()
    def embed(self, windows_NCHW: Tensor) -> NDArray[np.float32]:
        """Embeddings [N, F] of slices as `ichd.vision.preprocess.prepare` gives them."""
        with _repeatable():
            on_device = windows_NCHW.to(self.device, memory_format=torch.channels_last)
            embeddings: NDArray[np.float32] = self._network.embed(on_device).float().cpu().numpy()
        return embeddings

    @torch.inference_mode()
    def classify(self, embeddings_SF: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated probabilities [S, 6] of one whole scan, inferior slice first, in the order of `CLASSES`."""
        with _repeatable():
            on_device = torch.from_numpy(embeddings_SF).to(self.device)
            logits_SC = self._network.classify(on_device).double().cpu().numpy()[:, self._order]
        calibrated_SC = logits_SC * self._scale_C + self._bias_C
        # tanh never overflows, however sure the network is.
        probabilities: NDArray[np.float64] = 0.5 * (1 + np.tanh(calibrated_SC / 2))
        return probabilities


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"model.device {name!r} is unknown; use auto, cpu or cuda") from error
    if device.type not in {"cpu", "cuda"}:
        raise UserError(f"model.device {name!r} is not supported; use auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"model.device is {name!r} but torch sees {torch.cuda.device_count()} GPUs; use auto or cpu")
    return device


def _repeatable() -> AbstractContextManager[Any]:
    """cuDNN without autotuning and without TF32: equal from run to run, and equal to the CPU in fp32."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
