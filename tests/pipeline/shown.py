"""Findings about real files, without a network: what it would have said is given."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydicom import dcmread

from ichd.domain.finding import CLASSES, Finding, Prediction, ReadingRule, SlicePrediction, conclude
from ichd.domain.heatmap import HeatMap
from ichd.report.document import ReportContext
from ichd.vision.scan import SliceSource, load_scan
from tests.report.findings import CREATED_AT, MODEL

CONTEXT = ReportContext(revision=1, created_at=CREATED_AT, software_version="0.1.0")
RULE = ReadingRule()


def finding_about(paths: Sequence[Path], hot: Mapping[str, Mapping[int, float]], *, frames: int = 0) -> Finding:
    """Every class is at 1 percent but on its `hot` slices, counted from 0 at the most inferior one.

    `frames` of one image where there are some.
    """
    sources = (
        [SliceSource(path=paths[0], frame_number=n) for n in range(1, frames + 1)]
        if frames
        else [SliceSource(path=path) for path in paths]
    )
    scan = load_scan(sources)
    slices = []
    for index, (source,) in enumerate(scan.sources):
        kinds = [hot.get(name, {}).get(index, 0.01) for name in CLASSES[1:]]
        slices.append(
            SlicePrediction(
                sop_instance_uid=source.sop_instance_uid,
                sop_class_uid=source.sop_class_uid,
                z_mm=source.z_mm,
                frame_number=source.frame_number,
                probabilities=(max(kinds), *kinds),
            )
        )
    prediction = Prediction(
        study_instance_uid=scan.study_instance_uid,
        series_instance_uid=scan.series_instance_uid,
        model=MODEL,
        slices=tuple(slices),
        notes=scan.notes,
    )
    return conclude(prediction, RULE)


def files_of(paths: Sequence[Path]) -> dict[str, Path]:
    """By SOP Instance UID."""
    return {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in paths}


def heat_of(finding: Finding, side: int) -> list[HeatMap]:
    """A map of each key slice and class, hot right of the middle of an image of `side` pixels."""
    cells = np.zeros((8, 8), dtype=np.uint8)
    cells[3, 5] = 255
    pitch = side / 8
    return [
        HeatMap(
            sop_instance_uid=key.sop_instance_uid,
            frame_number=key.frame_number,
            class_name=found.name,
            cells=tuple(row.tobytes() for row in cells),
            first_cell=((pitch - 1) / 2, (pitch - 1) / 2),
            cell_pitch=(pitch, pitch),
            cell_mm=(pitch, pitch),
            probability_alone=0.5,
        )
        for found in finding.classes
        for key in found.key_slices
    ]
