"""What a bundle says about packed studies whose truth is known.

Shapes: S slices, N scans or slices, C = 6 classes in the order of `ichd.domain.finding.CLASSES`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ichd.domain.finding import CLASSES
from ichd.domain.scan_calibration import ScanCalibration
from ichd.vision.engines.engine import Engine, Part
from training.measures.basic import Floats, expit, logit
from training.packed.study import PackedStudy

Labels = NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class ScanReading:
    """One scan: probabilities beside truth."""

    study_id: str
    patient_id: str
    #: Images behind each slice, [S].
    image_ids: tuple[tuple[str, ...], ...]
    z_mm: tuple[float, ...]
    #: As the bundle gives them, its slice calibration applied, [S, C].
    p_SC: Floats
    #: 1, 0 or -1 (unknown), int8 [S, C] and [C].
    truth_SC: Labels
    truth_C: Labels
    groups: Mapping[str, str] = field(default_factory=dict)
    #: The bundle's own, by class.
    scan_calibrations: Mapping[str, ScanCalibration] = field(default_factory=dict)

    @property
    def slices_read(self) -> int:
        """How many slices the network saw, as `ichd.domain.finding.conclude` counts: slabs read as one count once."""
        return 1 + int((self.p_SC[1:] != self.p_SC[:-1]).any(axis=1).sum())

    @property
    def reported_C(self) -> Floats:  # noqa: N802
        """Scan level as the bundle reports it: its scan calibration applied where it has one, [C]."""
        p_C = self.p_C
        for name, calibration in self.scan_calibrations.items():
            c = CLASSES.index(name)
            p_C[c] = calibration.probability(float(p_C[c]), self.slices_read)
        return p_C

    @property
    def p_C(self) -> Floats:  # noqa: N802
        """Scan level before scan calibration: the maximum over the slices (paper, scan-level result), [C]."""
        return np.asarray(self.p_SC.max(axis=0), dtype=np.float64)


def read_studies(
    engine: Engine,
    studies: Sequence[PackedStudy],
    *,
    flip: bool = False,
    on_scan: Callable[[int, int], None] = lambda _done, _all: None,
) -> Iterator[ScanReading]:
    """Each study as one sequence, as the daemon reads it; with `flip`, the mean logit of the scan and its mirror image.

    Raises:
        UserError: a shard is missing or damaged.
    """
    for done, study in enumerate(studies):
        on_scan(done, len(studies))
        p_SC = _read(engine, study, mirrored=False)
        if flip:
            p_SC = expit((logit(p_SC) + logit(_read(engine, study, mirrored=True))) / 2)
        yield ScanReading(
            study_id=study.study_id,
            patient_id=study.patient_id,
            image_ids=study.image_ids,
            z_mm=study.z_mm,
            p_SC=p_SC,
            truth_SC=study.labels_SC,
            truth_C=study.study_labels_C,
            groups=study.groups,
            scan_calibrations=engine.bundle.rule.scan_calibrations,
        )
    on_scan(len(studies), len(studies))


def _read(engine: Engine, study: PackedStudy, *, mirrored: bool) -> Floats:
    hu_SHW, (row, column) = study.hu(), study.head_centre
    if mirrored:
        hu_SHW, column = np.ascontiguousarray(hu_SHW[:, :, ::-1]), study.columns - 1 - column
    whole_image = engine.bundle.manifest.input.field_of_view_mm is None
    part = Part(hu_SHW=hu_SHW, pixel_spacing_mm=study.pixel_spacing_mm, centre=None if whole_image else (row, column))
    return engine.classify(*engine.embed([part]), z_mm=study.z_mm)
