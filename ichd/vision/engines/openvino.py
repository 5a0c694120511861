"""OpenVINO on the CPU: bf16 where the processor multiplies it, several times as fast as torch."""

from threading import Lock

import numpy as np
import openvino as ov
import structlog
import torch
from numpy.typing import NDArray

from ichd.vision.bundle import Bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.conversion import MODEL_NAME, conversion_key, convert, save_converted
from ichd.vision.engines.provenance import fingerprint_of
from ichd.vision.engines.quantisation import find_quantised
from ichd.vision.engines.runtime import CPU_PLUGIN, openvino_core
from ichd.vision.engines.sequence import SequenceHead
from ichd.vision.preprocess import HU, Point, sampling_for

log = structlog.get_logger(__name__)

#: OpenVINO's words for our precisions.
_HINTS = {"bf16": "bf16", "fp32": "f32"}


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
        options: dict[str, object] = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            torch.set_num_threads(threads)
            options["INFERENCE_NUM_THREADS"] = threads
        core = openvino_core()
        self._origin = conversion_key(bundle)
        if precision == "int8":
            entry = find_quantised(bundle, cache)
            # Which slices it was quantised with shows in its bits alone.
            self._origin = EngineCache.digest(entry)
            model = core.read_model(entry / MODEL_NAME)
        else:
            model = _converted(bundle, core, cache)
        self._compiled = core.compile_model(model, CPU_PLUGIN, options)
        self._threads = int(self._compiled.get_property("INFERENCE_NUM_THREADS"))
        self._processor = str(core.get_property(CPU_PLUGIN, "FULL_DEVICE_NAME"))
        self._request = self._compiled.create_infer_request()
        self._alone = Lock()
        self._sequence = SequenceHead(bundle.network(), bundle.manifest, torch.device("cpu"))

    @property
    def name(self) -> str:
        """As in `Engine`."""
        return f"openvino-cpu-{self.precision}"

    @property
    def fingerprint(self) -> str:
        """As in `Engine`; kernels differ from processor to processor."""
        return fingerprint_of(self._origin, self.name, self._processor, f"{self._threads} threads")

    def warm_up(self) -> None:
        """As in `Engine`."""
        size = self.bundle.manifest.input.image_size
        self.classify(self.embed(np.zeros((2, size, size), dtype=np.int16), (0.5, 0.5)))

    def embed(
        self, hu_SHW: HU, pixel_spacing_mm: tuple[float, float], *, centre: Point | None = None
    ) -> NDArray[np.float32]:
        """As in `Engine`."""
        sampling = sampling_for(hu_SHW, pixel_spacing_mm, self.bundle.manifest.input, centre=centre)
        embeddings = []
        # A request holds one slice's activations: whoever comes second waits.
        with self._alone:
            for source_RK in sampling.cut(hu_SHW):
                grid_1GG = sampling.resample(torch.from_numpy(np.ascontiguousarray(source_RK[None]))).numpy()
                embeddings.append(self._request.infer([grid_1GG], share_inputs=True)[0])
        return np.concatenate(embeddings)

    def classify(self, embeddings_SF: NDArray[np.float32]) -> NDArray[np.float64]:
        """As in `Engine`."""
        return self._sequence.classify(embeddings_SF)


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
    key = conversion_key(bundle)
    entry = cache.find(key) if cache else None
    if entry is None:
        log.info("engine_converts", model=bundle.identity.name, backbone=bundle.manifest.network.backbone)
        model = convert(bundle)
        entry = cache.keep(key, lambda folder: save_converted(model, folder)) if cache else None
        if entry is None:
            return model
    return core.read_model(entry / MODEL_NAME)
