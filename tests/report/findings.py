"""Source headers and findings that the tests of report and publish speak about."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime

from pydicom import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

from ichd.domain.finding import (
    CLASSES,
    Finding,
    ModelIdentity,
    Prediction,
    ReadingRule,
    SlicePrediction,
    Threshold,
    conclude,
)
from ichd.report.document import ReportContext

STUDY_UID = "2.25.11111"
SERIES_UID = "2.25.22222"
CREATED_AT = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
CONTEXT = ReportContext(revision=1, created_at=CREATED_AT, software_version="0.1.0")
MODEL = ModelIdentity(
    name="phantom-demo",
    version="1.2",
    weights_sha256="0123456789abcdef" * 4,
    bundle_sha256="fedcba9876543210" * 4,
    statement="trained on synthetic data: demonstration only",
    demonstration=True,
)


def slice_uid(index: int) -> str:
    """SOP Instance UID of a slice."""
    return f"2.25.33333{index:04d}"


def header(index: int = 0) -> Dataset:
    """The header of one CT image, as a careful scanner writes it."""
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = slice_uid(index)
    image.StudyInstanceUID = STUDY_UID
    image.SeriesInstanceUID = SERIES_UID
    image.StudyDate, image.StudyTime = "20260304", "050000"
    image.StudyID, image.AccessionNumber = "77", "A-1234"
    image.StudyDescription = "CT Schädel"
    image.PatientName, image.PatientID = "Müller^Jörg", "P-42"
    image.PatientBirthDate, image.PatientSex, image.PatientAge = "19500102", "M", "076Y"
    image.ReferringPhysicianName = "Weiß^Änne"
    image.Modality, image.Manufacturer = "CT", "Scanner & Sons"
    return image


def prediction(
    rows: Sequence[Sequence[float]], *, model: ModelIdentity = MODEL, multi_frame: bool = False
) -> Prediction:
    """A row of six probabilities a slice; `multi_frame`: the slices are the frames of one image."""
    return Prediction(
        study_instance_uid=STUDY_UID,
        series_instance_uid=SERIES_UID,
        model=model,
        slices=tuple(
            SlicePrediction(
                sop_instance_uid=slice_uid(0 if multi_frame else i),
                sop_class_uid=EnhancedCTImageStorage if multi_frame else CTImageStorage,
                frame_number=i + 1 if multi_frame else None,
                z_mm=5.0 * i,
                probabilities=tuple(row),
            )
            for i, row in enumerate(rows)
        ),
    )


def bleeding(slices: int = 12, *, model: ModelIdentity = MODEL, multi_frame: bool = False) -> Finding:
    """A subdural on the middle slices, with a subarachnoid that is not sure."""
    rows = []
    for i in range(slices):
        near = 1.0 / (1 + abs(i - slices // 2))
        rows.append([0.97 * near, 0.04 * near, 0.001234567890123 * near, 0.5 * near, 0.93 * near, 1e-9])
    rule = ReadingRule(thresholds={"subarachnoid": Threshold(present_from=0.7, absent_below=0.3)})
    return conclude(prediction(rows, model=model, multi_frame=multi_frame), rule)


def healthy(slices: int = 12) -> Finding:
    """Nothing above one percent."""
    return conclude(prediction([[0.01] * len(CLASSES)] * slices), ReadingRule())


def retold(finding: Finding, source: Dataset) -> Finding:
    """The same finding on the study and series of `source`, which is its first slice."""
    told = finding.prediction
    slices = (dataclasses.replace(told.slices[0], sop_instance_uid=str(source.SOPInstanceUID)), *told.slices[1:])
    return conclude(
        dataclasses.replace(
            told,
            study_instance_uid=str(source.StudyInstanceUID),
            series_instance_uid=str(source.SeriesInstanceUID),
            slices=slices,
        ),
        ReadingRule(thresholds={c.name: c.threshold for c in finding.classes}),
    )
