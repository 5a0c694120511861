"""The room in one sentence: a `HeadScan` goes in, a `Prediction` comes out."""

import threading
from collections.abc import Mapping, Sequence
from time import perf_counter
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ichd.domain.finding import Prediction, SlicePrediction
from ichd.vision.engines.engine import Engine, Part
from ichd.vision.preprocess import HU, crop_centre
from ichd.vision.scan import HeadScan

#: By index of the slice, embeddings [F] that were made earlier.
Known = Mapping[int, NDArray[np.float32]]


class Reader:
    """Reads scans with one engine; keeps nothing between them. Safe for any number of threads, which take turns."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._turn = threading.Lock()

    @property
    def sees_slices_alone(self) -> bool:
        """Whether a slice can be embedded before the others are there: a crop around the head needs the whole scan."""
        return self.engine.bundle.manifest.input.field_of_view_mm is None

    def warm_up(self) -> None:
        """Do all that happens once, so that no study waits for it."""
        self.engine.warm_up()

    @property
    def at_once(self) -> int:
        """How many slices take about as long together as one."""
        return self.engine.at_once

    def embed(self, scan: HeadScan, indices: Sequence[int]) -> NDArray[np.float32]:
        """Embeddings [len(indices), F] of some slices of a scan."""
        # Picking copies, and a long scan is the largest thing in memory.
        every = list(indices) == list(range(len(scan.hu_SHW)))
        hu_SHW = scan.hu_SHW if every else scan.hu_SHW[list(indices)]
        with self._turn:
            (embeddings_SF,) = self.engine.embed([self._part(scan, hu_SHW)])
        return embeddings_SF

    def embed_together(self, scans: Sequence[HeadScan]) -> list[NDArray[np.float32]]:
        """Embeddings [S, F] of all slices of each of several scans."""
        parts = [self._part(scan, scan.hu_SHW) for scan in scans]
        with self._turn:
            return self.engine.embed(parts)

    def read(self, scan: HeadScan, *, known: Known = MappingProxyType({})) -> Prediction:
        """Probabilities of every source image: those of an averaged slice stand for each that it was made of.

        `known` must come from an engine of the same fingerprint. `timings_ms` has embed (windows and CNN, of the slices
        that were not known) and classify (sequence).
        """
        started = perf_counter()
        missing = [index for index in range(len(scan.hu_SHW)) if index not in known]
        embeddings = dict(known)
        if missing:
            embeddings |= dict(zip(missing, self.embed(scan, missing), strict=True))
        embedded = perf_counter()
        embeddings_SF = np.stack([embeddings[index] for index in range(len(scan.hu_SHW))])
        with self._turn:
            probabilities_SC = self.engine.classify(embeddings_SF, z_mm=scan.z_mm)
        classified = perf_counter()
        return Prediction(
            study_instance_uid=scan.study_instance_uid,
            series_instance_uid=scan.series_instance_uid,
            model=self.engine.bundle.identity,
            slices=_slices(scan, probabilities_SC),
            notes=scan.notes,
            timings_ms={
                "embed": round((embedded - started) * 1e3, 3),
                "classify": round((classified - embedded) * 1e3, 3),
            },
        )

    def _part(self, scan: HeadScan, hu_SHW: HU) -> Part:
        """Some slices of a scan, cut where the whole of it is."""
        centre = crop_centre(scan.hu_SHW, scan.pixel_spacing_mm, self.engine.bundle.manifest.input)
        return Part(hu_SHW=hu_SHW, pixel_spacing_mm=scan.pixel_spacing_mm, centre=centre)


def _slices(scan: HeadScan, probabilities_SC: NDArray[np.float64]) -> tuple[SlicePrediction, ...]:
    return tuple(
        SlicePrediction(
            sop_instance_uid=source.sop_instance_uid,
            sop_class_uid=source.sop_class_uid,
            z_mm=source.z_mm,
            probabilities=tuple(float(p) for p in probabilities_C),
            frame_number=source.frame_number,
        )
        for sources, probabilities_C in zip(scan.sources, probabilities_SC, strict=True)
        for source in sources
    )
