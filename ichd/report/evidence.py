"""Which images speak for a finding, and how a document lists what it refers to (PS3.3 C.17.2.3)."""

from collections.abc import Iterable

from pydicom import Dataset

from ichd.domain.finding import CLASSES, ClassFinding, Finding, Prediction, Presence, SlicePrediction


def key_slices(finding: Finding) -> tuple[SlicePrediction, ...]:
    """Every slice that a class names, once, and of a healthy head one, so that its report names the series too."""
    named = _once(finding.classes)
    slices = finding.prediction.slices
    return named or (slices[len(slices) // 2],)


def top_slices(finding: Finding) -> tuple[SlicePrediction, ...]:
    """What to look at first: the slices of what is called, else those of what is not sure, else the likeliest one."""
    for presence in (Presence.PRESENT, Presence.UNDETERMINED):
        if called := _once(c for c in finding.classes if c.presence is presence):
            return called
    any_haemorrhage = CLASSES.index("any")
    return (max(finding.prediction.slices, key=lambda s: s.probabilities[any_haemorrhage]),)


def _once(classes: Iterable[ClassFinding]) -> tuple[SlicePrediction, ...]:
    return tuple({(s.sop_instance_uid, s.frame_number): s for c in classes for s in c.key_slices}.values())


def evidence_of(prediction: Prediction, images: Iterable[SlicePrediction]) -> list[Dataset]:
    """Current Requested Procedure Evidence Sequence: each image once, whatever its frames."""
    references = []
    for sop_instance_uid, sop_class_uid in {s.sop_instance_uid: s.sop_class_uid for s in images}.items():
        reference = Dataset()
        reference.ReferencedSOPClassUID = sop_class_uid
        reference.ReferencedSOPInstanceUID = sop_instance_uid
        references.append(reference)
    return referenced_study(prediction.study_instance_uid, prediction.series_instance_uid, references)


def referenced_study(study_instance_uid: str, series_instance_uid: str, references: list[Dataset]) -> list[Dataset]:
    """A sequence of one study with one series (PS3.3 table C.17-3)."""
    series = Dataset()
    series.ReferencedSOPSequence = references
    series.SeriesInstanceUID = series_instance_uid
    study = Dataset()
    study.ReferencedSeriesSequence = [series]
    study.StudyInstanceUID = study_instance_uid
    return [study]
