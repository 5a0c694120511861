"""torch on an NVIDIA GPU: bf16 or fp16 convolutions, one captured graph, slices that are copied while others are read.

What a slice goes through: its int16 HU are copied to the device, resampled onto a row of the batch, windowed and
standardised in fp32, taken through the convolutions in bf16 (fp16 where a card has no bf16), pooled in fp32.

The batch always has the same number of rows, whatever is in the rest of them: with the same shape, the same kernels
run, and every row's sums should be added in the same order. Rows may be slices of several scans.

**No GPU has run any of this**: the machines that it was written on have none. Everything but the streams, the pinned
memory and the captured graph runs on the CPU as well, where it is tested: that rows don't see each other, and how close
the precisions are to fp32. Whether both hold for a card's kernels is tried on the card at every start
(`ichd.vision.engines.trial`), and an engine that fails reads nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from ichd.vision.bundle import Bundle
from ichd.vision.engines.conveyor import Conveyor
from ichd.vision.engines.engine import Part
from ichd.vision.engines.folding import folded
from ichd.vision.engines.provenance import fingerprint_of, torch_processor
from ichd.vision.engines.sequence import SequenceHead, repeatable
from ichd.vision.network import CnnLstm
from ichd.vision.preprocess import normalise, sampling_for

#: Rows of the batch. A usual scan of 36 slices is three of them: the last is never nearly empty, and the first is read
#: while the second is copied. At 512 px twelve rows have as many pixels as sixty of ImageNet's, which fills a card.
AT_ONCE = 12

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
#: Runs before a graph is captured: cuDNN and cuBLAS choose their kernels and workspaces in the first.
_RUNS_BEFORE_CAPTURE = 3


class CudaEngine:
    """The CNN as one replayed graph; the sequence model in fp32 as in every engine.

    Raises:
        Permanent: MODEL_UNUSABLE, the bundle's weights don't fit its network.
    """

    def __init__(self, bundle: Bundle, *, device: torch.device, precision: str, at_once: int = AT_ONCE) -> None:
        """`precision` is one of `precisions`, or any of them where the device is the CPU."""
        self.bundle = bundle
        self.device = device
        self.precision = precision
        self._at_once = at_once
        network = bundle.network()
        self._sequence = SequenceHead(_on(network, device), bundle.manifest, device)
        size = bundle.manifest.input.image_size
        self._grid_NGG = torch.zeros(at_once, size, size, device=device)
        self._conveyor = Conveyor(device)
        cnn = _Cnn(bundle, at_once=at_once, dtype=_TYPES[precision]).to(device)
        with torch.no_grad(), repeatable():
            self._run = _captured(cnn, self._grid_NGG, self._conveyor)

    @property
    def name(self) -> str:
        """As in `Engine`."""
        return f"cudagraph-{self.device.type}-{self.precision}"

    @property
    def fingerprint(self) -> str:
        """As in `Engine`; kernels differ from card to card, and with the rows of the batch."""
        return fingerprint_of(
            self.bundle.identity.bundle_sha256, self.name, torch_processor(self.device), str(self.at_once)
        )

    @property
    def at_once(self) -> int:
        """As in `Engine`: the rows of the batch."""
        return self._at_once

    def warm_up(self) -> None:
        """As in `Engine`; the graph was captured when the engine was made."""
        size = self.bundle.manifest.input.image_size
        slices = np.zeros((2, size, size), dtype=np.int16)
        self.classify(*self.embed([Part(hu_SHW=slices, pixel_spacing_mm=(0.5, 0.5))]))

    @torch.no_grad()
    def embed(self, parts: Sequence[Part]) -> list[NDArray[np.float32]]:
        """As in `Engine`; slices of different parts share batches."""
        done: list[Tensor] = []
        with repeatable(), self._conveyor.computing():
            filled = 0
            for grid_GG in self._grids(parts):
                self._grid_NGG[filled].copy_(grid_GG)
                filled += 1
                if filled == self.at_once:
                    # A copy: the next replay writes over the graph's output.
                    done.append(self._run().clone())
                    filled = 0
            if filled:
                done.append(self._run()[:filled].clone())
            embeddings = torch.cat(done).cpu().numpy()
        return np.split(embeddings, np.cumsum([len(part.hu_SHW) for part in parts])[:-1])

    def classify(
        self, embeddings_SF: NDArray[np.float32], *, z_mm: Sequence[float] | None = None
    ) -> NDArray[np.float64]:
        """As in `Engine`."""
        return self._sequence.classify(embeddings_SF, z_mm=z_mm)

    def _grids(self, parts: Sequence[Part]) -> Iterator[Tensor]:
        """HU on the model's grid [G, G], on the device, slice after slice.

        Each is resampled alone: a matrix product over several would be another shape, and might be other bits.
        """
        for part in parts:
            spec = self.bundle.manifest.input
            sampling = sampling_for(part.hu_SHW, part.pixel_spacing_mm, spec, centre=part.centre)
            on_device = sampling.to(self.device)
            for source_RK in self._conveyor.carry(sampling.cut(part.hu_SHW)):
                yield on_device.resample(source_RK)


def precisions(device: torch.device) -> tuple[str, ...]:
    """What this GPU computes in, its own choice first."""
    # torch asks for the current card only, and another may be older.
    with torch.cuda.device(device):
        half = ("bf16", "fp16") if torch.cuda.is_bf16_supported(including_emulation=False) else ("fp16",)
    return (*half, "fp32")


class _Cnn(nn.Module):
    """HU [N, G, G] on the grid to embeddings [N, F] in fp32."""

    def __init__(self, bundle: Bundle, *, at_once: int, dtype: torch.dtype) -> None:
        super().__init__()
        spec = bundle.manifest.input
        self._spec, self._dtype = spec, dtype
        example = torch.zeros(at_once, len(spec.windows), spec.image_size, spec.image_size)
        # Networks of their own: a head may have weights, which stay in fp32 when those of the convolutions are cast.
        features = folded(_Features(bundle.network()), example)
        self._pool = folded(_Pool(bundle.network()), torch.zeros(_output_shape(features)))
        self._features = features.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, hu_NGG: Tensor) -> Tensor:
        x_NCGG = normalise(hu_NGG, self._spec).to(self._dtype, memory_format=torch.channels_last)
        maps_NChw: Tensor = self._features(x_NCGG)
        embeddings_NF: Tensor = self._pool(maps_NChw.float())
        return embeddings_NF


class _Features(nn.Module):
    """The convolutions alone."""

    def __init__(self, network: CnnLstm) -> None:
        super().__init__()
        self._network = network

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self._network.features(x_NCHW)


class _Pool(nn.Module):
    """What follows them."""

    def __init__(self, network: CnnLstm) -> None:
        super().__init__()
        self._network = network

    def forward(self, maps_NChw: Tensor) -> Tensor:
        return self._network.pool(maps_NChw)


def _output_shape(module: fx.GraphModule) -> torch.Size:
    """Of the one tensor that an exported module gives, as its graph tells."""
    outputs: Any = module.graph.output_node().args[0]
    shape: torch.Size = outputs[0].meta["val"].shape
    return shape


def _on(network: CnnLstm, device: torch.device) -> CnnLstm:
    """The network with its decoder on the device; nobody asks it for its backbone."""
    network.decoder.to(device)
    return network


def _captured(cnn: _Cnn, input_NGG: Tensor, conveyor: Conveyor) -> Callable[[], Tensor]:
    """What computes the embeddings of `input_NGG` as it stands then: a captured graph on CUDA, a call elsewhere."""

    def run() -> Tensor:
        output_NF: Tensor = cnn(input_NGG)
        return output_NF

    if input_NGG.device.type != "cuda":
        return run
    graph = torch.cuda.CUDAGraph()
    # The weights came on another stream.
    torch.cuda.synchronize(input_NGG.device)
    with conveyor.computing():
        for _ in range(_RUNS_BEFORE_CAPTURE):
            run()
        torch.cuda.synchronize(input_NGG.device)
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream(input_NGG.device)):
            output_NF = run()

    def replay() -> Tensor:
        graph.replay()
        return output_NF

    return replay
