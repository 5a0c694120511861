"""torch in fp32, as it is: what every other engine is compared with, and what runs where nothing else does."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ichd.vision.bundle import Bundle
from ichd.vision.engines.device import find_device
from ichd.vision.engines.engine import Part
from ichd.vision.engines.provenance import fingerprint_of, torch_processor
from ichd.vision.engines.sequence import SequenceHead, repeatable
from ichd.vision.preprocess import normalise, sampling_for

_WARM_UP_SIDE = 512


class EagerEngine:
    """torch in fp32, on CUDA where there is one, else on the CPU.

    Raises:
        UserError: the device is not there.
        Permanent: MODEL_UNUSABLE, the bundle's weights don't fit its network.
    """

    def __init__(self, bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> None:
        """`device` is "auto", "cpu" or "cuda[:N]"; `threads` sets torch's for the whole process, as torch does."""
        if threads is not None:
            torch.set_num_threads(threads)
        self.bundle = bundle
        self.device = find_device(device)
        self._processor = torch_processor(self.device)
        # Convolutions are quickest on both kinds of device when a pixel's channels lie side by side.
        self._network = bundle.network().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._sequence = SequenceHead(self._network, bundle.manifest, self.device)

    @property
    def name(self) -> str:
        """As in `Engine`."""
        return f"torch-{self.device.type}-fp32"

    @property
    def fingerprint(self) -> str:
        """As in `Engine`."""
        return fingerprint_of(self.bundle.identity.bundle_sha256, self.name, self._processor)

    def warm_up(self) -> None:
        """As in `Engine`."""
        slices = np.zeros((2, _WARM_UP_SIDE, _WARM_UP_SIDE), dtype=np.int16)
        self.classify(*self.embed([Part(hu_SHW=slices, pixel_spacing_mm=(0.5, 0.5))]))

    @property
    def at_once(self) -> int:
        """As in `Engine`: a slice among others may come out with other bits, and on a CPU more are slower besides."""
        return 1

    @torch.inference_mode()
    def embed(self, parts: Sequence[Part]) -> list[NDArray[np.float32]]:
        """As in `Engine`."""
        with repeatable():
            return [np.concatenate(list(self._embed(part))) for part in parts]

    def classify(
        self, embeddings_SF: NDArray[np.float32], *, z_mm: Sequence[float] | None = None
    ) -> NDArray[np.float64]:
        """As in `Engine`."""
        return self._sequence.classify(embeddings_SF, z_mm=z_mm)

    def _embed(self, part: Part) -> Iterator[NDArray[np.float32]]:
        """Embeddings [1, F], slice after slice."""
        spec = self.bundle.manifest.input
        sampling = sampling_for(part.hu_SHW, part.pixel_spacing_mm, spec, centre=part.centre)
        for source_RK in sampling.cut(part.hu_SHW):
            grid_1GG = sampling.resample(torch.from_numpy(np.ascontiguousarray(source_RK[None])))
            windows = normalise(grid_1GG, spec).to(self.device, memory_format=torch.channels_last)
            yield self._network.embed(windows).float().cpu().numpy()
