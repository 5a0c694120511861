"""The room in one sentence: a `HeadScan` goes in, a `Prediction` comes out."""

from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ichd.domain.finding import Prediction, SlicePrediction
from ichd.vision.engines import TorchEngine
from ichd.vision.preprocess import prepare_batches
from ichd.vision.scan import HeadScan

#: Pixels that go through the CNN at once: eight slices of 512 px, which keeps ResNet-50's activations near half a
#: gigabyte; more slices at once bring no speed on a CPU.
_PIXELS_AT_ONCE = 8 * 512 * 512
_MOST_SLICES_AT_ONCE = 16


class Reader:
    """Reads scans with one engine; keeps nothing between them."""

    def __init__(self, engine: TorchEngine) -> None:
        self.engine = engine

    def warm_up(self) -> None:
        """Push blank slices through, so that no study waits for what torch does at a first pass."""
        self._look(np.zeros((_MOST_SLICES_AT_ONCE, 512, 512), dtype=np.int16), (0.5, 0.5))

    def read(self, scan: HeadScan) -> Prediction:
        """Probabilities of every slice. `timings_ms` has prepare (windows), embed (CNN) and classify (sequence)."""
        probabilities_SC, timings_ms = self._look(scan.hu_SHW, scan.pixel_spacing_mm)
        return Prediction(
            study_instance_uid=scan.study_instance_uid,
            series_instance_uid=scan.series_instance_uid,
            model=self.engine.bundle.identity,
            slices=tuple(
                SlicePrediction(
                    sop_instance_uid=sop_instance_uid,
                    sop_class_uid=sop_class_uid,
                    z_mm=z_mm,
                    probabilities=tuple(float(p) for p in probabilities_C),
                )
                for sop_instance_uid, sop_class_uid, z_mm, probabilities_C in zip(
                    scan.sop_instance_uids, scan.sop_class_uids, scan.z_mm, probabilities_SC, strict=True
                )
            ),
            notes=scan.notes,
            timings_ms=timings_ms,
        )

    def _look(
        self, hu_SHW: NDArray[np.int16] | NDArray[np.float32], pixel_spacing_mm: tuple[float, float]
    ) -> tuple[NDArray[np.float64], dict[str, float]]:
        spec = self.engine.bundle.manifest.input
        batch = max(1, min(_MOST_SLICES_AT_ONCE, _PIXELS_AT_ONCE // spec.image_size**2))
        embeddings = []
        prepare_s = embed_s = 0.0
        mark = perf_counter()
        for windows_NCHW in prepare_batches(hu_SHW, pixel_spacing_mm, spec, batch=batch):
            prepared = perf_counter()
            embeddings.append(self.engine.embed(windows_NCHW))
            prepare_s += prepared - mark
            mark = perf_counter()
            embed_s += mark - prepared
        probabilities_SC = self.engine.classify(np.concatenate(embeddings))
        classify_s = perf_counter() - mark
        seconds = {"prepare": prepare_s, "embed": embed_s, "classify": classify_s}
        return probabilities_SC, {step: round(s * 1000, 3) for step, s in seconds.items()}
