"""OpenVINO on the CPU: bf16 where the processor multiplies it, several times as fast as torch."""

from collections.abc import Iterator, Sequence
from threading import Lock

import numpy as np
import openvino as ov
import structlog
import torch
from numpy.typing import NDArray

from ichd.vision.bundle import Bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.conversion import MODEL_NAME, conversion_key, convert, save_converted
from ichd.vision.engines.engine import Part
from ichd.vision.engines.provenance import fingerprint_of
from ichd.vision.engines.quantisation import find_quantised
from ichd.vision.engines.runtime import CPU_PLUGIN, openvino_core
from ichd.vision.engines.sequence import SequenceHead
from ichd.vision.preprocess import sampling_for

log = structlog.get_logger(__name__)

#: OpenVINO's words for our precisions.
_HINTS = {"bf16": "bf16", "fp32": "f32"}
#: Slices that are seen side by side. Two cores get through two slices sooner than through one after the other, where
#: they wait for each other at every layer. More streams on a large machine would cost memory, and a single slice time.
_MOST_STREAMS = 4


class OpenVinoEngine:
    """The CNN in OpenVINO; the sequence model, a thousandth of the work, in fp32 torch as in every engine.

    The first start converts the network and keeps the result in `cache`; later ones read it. OpenVINO's own cache of
    compiled models is left off: compiling takes half a second, and what it keeps carries no digest.

    Raises:
        UserError: OpenVINO can't run the backbone, or int8 is wanted and was not made.
        Permanent: MODEL_UNUSABLE, the bundle's weights don't fit its network.
    """

    def __init__(
        self, bundle: Bundle, *, precision: str, threads: int | None = None, cache: EngineCache | None = None
    ) -> None:
        """`precision` is one of `precisions`; `threads` sets torch's for the whole process as well."""
        self.bundle = bundle
        self.precision = precision
        # What int8 leaves as it was is computed in the processor's own choice of the others.
        hint = _HINTS[precisions()[0] if precision == "int8" else precision]
        core = openvino_core()
        if threads is None:
            threads = _cores(core)
        else:
            torch.set_num_threads(threads)
        self._threads, self._streams = threads, _streams_of(threads)
        options = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": self._streams,
        }
        self._origin = conversion_key(bundle)
        if precision == "int8":
            entry = find_quantised(bundle, cache)
            # Which slices it was quantised with shows in its bits alone.
            self._origin = EngineCache.digest(entry)
            model = core.read_model(entry / MODEL_NAME)
        else:
            model = _converted(bundle, core, cache)
        compiled = core.compile_model(model, CPU_PLUGIN, options)
        self._queue = ov.AsyncInferQueue(compiled, self._streams)
        self._processor = str(core.get_property(CPU_PLUGIN, "FULL_DEVICE_NAME"))
        self._alone = Lock()
        self._sequence = SequenceHead(bundle.network(), bundle.manifest, torch.device("cpu"))

    @property
    def name(self) -> str:
        """As in `Engine`."""
        return f"openvino-cpu-{self.precision}"

    @property
    def fingerprint(self) -> str:
        """As in `Engine`; kernels differ from processor to processor."""
        return fingerprint_of(self._origin, self.name, self._processor, f"{self._threads} threads in {self._streams}")

    @property
    def at_once(self) -> int:
        """As in `Engine`: a slice a stream."""
        return self._streams

    def warm_up(self) -> None:
        """As in `Engine`."""
        size = self.bundle.manifest.input.image_size
        slices = np.zeros((2 * self.at_once, size, size), dtype=np.int16)
        self.classify(*self.embed([Part(hu_SHW=slices, pixel_spacing_mm=(0.5, 0.5))]))

    def embed(self, parts: Sequence[Part]) -> list[NDArray[np.float32]]:
        """As in `Engine`; each stream sees a slice."""
        embeddings: dict[int, NDArray[np.float32]] = {}

        def keep(request: ov.InferRequest, slice_: tuple[int, object]) -> None:
            # A copy: the next slice of this stream writes over it.
            embeddings[slice_[0]] = request.get_output_tensor(0).data.copy()

        # The queue is one caller's: whoever comes second waits.
        with self._alone:
            self._queue.set_callback(keep)
            try:
                for number, grid_1GG in enumerate(self._grids(parts)):
                    # The grid travels along, because the input is shared and must outlive this turn.
                    self._queue.start_async([grid_1GG], (number, grid_1GG), share_inputs=True)
            finally:
                self._queue.wait_all()
        embeddings_NF = np.concatenate([embeddings[number] for number in range(len(embeddings))])
        return np.split(embeddings_NF, np.cumsum([len(part.hu_SHW) for part in parts])[:-1])

    def classify(
        self, embeddings_SF: NDArray[np.float32], *, z_mm: Sequence[float] | None = None
    ) -> NDArray[np.float64]:
        """As in `Engine`."""
        return self._sequence.classify(embeddings_SF, z_mm=z_mm)

    def _grids(self, parts: Sequence[Part]) -> Iterator[NDArray[np.float32]]:
        """HU on the model's grid [1, G, G], slice after slice."""
        for part in parts:
            spec = self.bundle.manifest.input
            sampling = sampling_for(part.hu_SHW, part.pixel_spacing_mm, spec, centre=part.centre)
            for source_RK in sampling.cut(part.hu_SHW):
                # In numpy: torch would convert by threads that go on spinning while the streams need the cores.
                source_1RK = np.ascontiguousarray(source_RK[None], dtype=np.float32)
                yield sampling.resample(torch.from_numpy(source_1RK)).numpy()


def _cores(core: ov.Core) -> int:
    """How many threads OpenVINO gives a network by itself: it knows which cores there are, and of which kinds."""
    nothing = ov.opset13.parameter([1], np.float32)
    compiled = core.compile_model(ov.Model([nothing], [nothing]), CPU_PLUGIN, {"PERFORMANCE_HINT": "LATENCY"})
    return int(compiled.get_property("INFERENCE_NUM_THREADS"))


def _streams_of(threads: int) -> int:
    """Streams that each have as many threads as every other, so that a slice has the same bits in all."""
    return next(streams for streams in range(_MOST_STREAMS, 0, -1) if threads % streams == 0)


def precisions() -> tuple[str, ...]:
    """What this processor computes in, the quickest that is close to fp32 first."""
    able = openvino_core().get_property(CPU_PLUGIN, "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "fp32", "int8") if "BF16" in able else ("fp32", "int8")


def is_converted(bundle: Bundle, precision: str, cache: EngineCache) -> bool:
    """Whether the next start finds the network converted.

    Raises:
        UserError: int8 is wanted and was not made.
    """
    if precision == "int8":
        return find_quantised(bundle, cache).is_dir()
    return cache.find(conversion_key(bundle)) is not None


def _converted(bundle: Bundle, core: ov.Core, cache: EngineCache | None) -> ov.Model:
    """From the cache, where its file stands in for memory; else converted, and kept."""
    if cache is None:
        return _convert(bundle)
    key = conversion_key(bundle)
    found = cache.find(key)
    if found is not None:
        return core.read_model(found / MODEL_NAME)
    with cache.turn(key) as made:
        if made is not None:
            return core.read_model(made / MODEL_NAME)
        model = _convert(bundle)
        kept = cache.keep(key, lambda folder: save_converted(model, folder))
    return model if kept is None else core.read_model(kept / MODEL_NAME)


def _convert(bundle: Bundle) -> ov.Model:
    log.info("engine_converts", model=bundle.identity.name, backbone=bundle.manifest.network.backbone)
    return convert(bundle)
