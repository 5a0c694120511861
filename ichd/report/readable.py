"""A report of ours, read back from its tree by codes and shown to a person.

The parser walks the content tree itself: it finds items by the codes of their names, wherever they stand among their
siblings, and believes nothing else. So it reads what a PACS hands back, re-encoded or with attributes coerced.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydicom import Dataset
from pydicom.sr.coding import Code

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES, ModelIdentity, Presence, Threshold, Triage
from ichd.report import codes

_BAR_WIDTH = 20
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class ReadableClass:
    """One Measurement Group: what the report says of one kind of haemorrhage."""

    name: str
    #: Scan level, 0 to 1.
    probability: float
    presence: Presence
    threshold: Threshold
    #: SOP Instance UIDs, highest probability first; empty when the class is absent.
    key_slices: tuple[str, ...]
    #: Beside each of `key_slices`: the frame of a multi-frame image, counted from 1, else None.
    key_frames: tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class ReadableReport:
    """Everything that a report of ours says, beside the patient."""

    study_instance_uid: str
    #: The series that was read, None where the report references no image.
    series_instance_uid: str | None
    sop_instance_uid: str
    accession_number: str
    #: Content Date and Time, ISO 8601 without an offset, on the clock of the study.
    created_at: str
    software_version: str
    model: ModelIdentity
    triage: Triage
    #: In the order of `CLASSES`.
    classes: tuple[ReadableClass, ...]
    comments: tuple[str, ...]
    #: SOP Instance UID of the report that this one replaces.
    predecessor: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON types, with the keys of interface.md where it has them."""
        return {
            "study_uid": self.study_instance_uid,
            "series_uid": self.series_instance_uid,
            "report_uid": self.sop_instance_uid,
            "predecessor_uid": self.predecessor,
            "accession_number": self.accession_number,
            "created_at": self.created_at,
            "software_version": self.software_version,
            "model": {
                "name": self.model.name,
                "version": self.model.version,
                "weights_sha256": self.model.weights_sha256,
                "bundle_sha256": self.model.bundle_sha256,
                "statement": self.model.statement,
                "demonstration": self.model.demonstration,
            },
            "classes": [c.name for c in self.classes],
            "scan": {c.name: c.probability for c in self.classes},
            "presence": {c.name: str(c.presence) for c in self.classes},
            "thresholds": {
                c.name: {"present_from": c.threshold.present_from, "absent_below": c.threshold.absent_below}
                for c in self.classes
            },
            "key_slices": {c.name: list(c.key_slices) for c in self.classes},
            "key_frames": {c.name: list(c.key_frames) for c in self.classes},
            "triage": str(self.triage),
            "comments": list(self.comments),
        }


def read_report(dataset: Dataset) -> ReadableReport:
    """Parse a Measurement Report of ours.

    Raises:
        UserError: it is something else, or damaged.
    """
    if not _is_coded(dataset.get("ConceptNameCodeSequence"), codes.IMAGING_MEASUREMENT_REPORT):
        kind = dataset.get("SOPClassUID")
        name = getattr(kind, "name", None) or "not a DICOM object"
        raise UserError(f"this is no report of ichd ({name}); give the Structured Report that a destination received")
    try:
        return _parse(dataset)
    except (LookupError, AttributeError, ValueError, TypeError) as error:
        # Another program's TID 1500, or a tree that lost items on its way: whatever is missing, the mend is the same.
        raise UserError(
            f"this Measurement Report is not one of ichd ({error}); give the file as a destination received it"
        ) from error


def _parse(report: Dataset) -> ReadableReport:
    groups = list(_children(_child(report, codes.IMAGING_MEASUREMENTS), codes.MEASUREMENT_GROUP))
    by_name = {_class_name(group): group for group in groups}
    evaluations = _child(report, codes.QUALITATIVE_EVALUATIONS)
    predecessors = report.get("PredecessorDocumentsSequence")
    return ReadableReport(
        study_instance_uid=str(report.StudyInstanceUID),
        series_instance_uid=_series_read(report),
        sop_instance_uid=str(report.SOPInstanceUID),
        accession_number=str(report.get("AccessionNumber") or ""),
        created_at=_iso(str(report.ContentDate), str(report.ContentTime)),
        software_version=_first(report.get("SoftwareVersions")),
        model=_model(by_name[CLASSES[0]]),
        triage=_decode(_child(evaluations, codes.TRIAGE), codes.TRIAGE_VALUE),
        classes=tuple(_read_class(name, by_name[name]) for name in CLASSES),
        comments=tuple(str(c.TextValue) for c in _children(evaluations, codes.COMMENT)),
        predecessor=(
            str(predecessors[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
            if predecessors
            else None
        ),
    )


def _read_class(name: str, group: Dataset) -> ReadableClass:
    parameters = _parameters(group)
    percent = _child(group, codes.PROBABILITY).MeasuredValueSequence[0].NumericValue
    key_slices = [image.ReferencedSOPSequence[0] for image in _children(group, codes.SOURCE_OF_MEASUREMENT)]
    return ReadableClass(
        name=name,
        # By its text: a report that was just built carries a longer number than any file of it can.
        probability=float(str(percent)) / 100.0,
        presence=_decode(_child(group, codes.PRESENCE), codes.PRESENCE_VALUE),
        threshold=Threshold(
            present_from=float(parameters["present_from"]), absent_below=float(parameters["absent_below"])
        ),
        key_slices=tuple(str(image.ReferencedSOPInstanceUID) for image in key_slices),
        key_frames=tuple(_frame(image) for image in key_slices),
    )


def _frame(reference: Dataset) -> int | None:
    """The one frame that is referenced (PS3.3 C.18.4), None for a whole image."""
    number = reference.get("ReferencedFrameNumber")
    return None if number is None else int(number)


def _model(group: Dataset) -> ModelIdentity:
    parameters = _parameters(group)
    return ModelIdentity(
        name=str(_child(group, codes.ALGORITHM_NAME).TextValue),
        version=str(_child(group, codes.ALGORITHM_VERSION).TextValue),
        weights_sha256=parameters["weights_sha256"],
        bundle_sha256=parameters["bundle_sha256"],
        statement=parameters.get("statement", ""),
        demonstration=parameters["demonstration"] == "yes",
    )


def _parameters(group: Dataset) -> dict[str, str]:
    pairs = (str(p.TextValue).partition("=") for p in _children(group, codes.ALGORITHM_PARAMETERS))
    return {key: value for key, _, value in pairs}


def _class_name(group: Dataset) -> str:
    value = _child(group, codes.FINDING).ConceptCodeSequence
    return next((name for name, code in codes.FINDING_TYPE.items() if _is_coded(value, code)), "")


def _series_read(report: Dataset) -> str | None:
    for study in report.get("CurrentRequestedProcedureEvidenceSequence") or ():
        for series in study.ReferencedSeriesSequence:
            return str(series.SeriesInstanceUID)
    return None


def _children(item: Dataset, name: Code) -> Iterator[Dataset]:
    for child in item.get("ContentSequence") or ():
        if _is_coded(child.get("ConceptNameCodeSequence"), name):
            yield child


def _child(item: Dataset, name: Code) -> Dataset:
    for child in _children(item, name):
        return child
    raise LookupError(f"it has no {name.meaning}")


def _is_coded(sequence: Any, code: Code) -> bool:
    if not sequence:
        return False
    item = sequence[0]
    return (item.get("CodeValue"), item.get("CodingSchemeDesignator")) == (code.value, code.scheme_designator)


def _decode(item: Dataset, table: Mapping[_T, Code]) -> _T:
    for value, code in table.items():
        if _is_coded(item.ConceptCodeSequence, code):
            return value
    raise LookupError(f"{item.ConceptCodeSequence[0].get('CodeValue')!r} is no value that ichd writes")


def _first(value: Any) -> str:
    """First value of a text attribute, whether it holds none, one or several."""
    if not value:
        return ""
    return value if isinstance(value, str) else str(value[0])


def _iso(date: str, time: str) -> str:
    return f"{date[:4]}-{date[4:6]}-{date[6:8]}T{time[:2]}:{time[2:4]}:{time[4:6]}"


def render_text(report: ReadableReport) -> str:
    """The report as a person reads it on a terminal, no line longer than a UID makes it."""
    model = report.model
    lines = [
        f"Intracranial haemorrhage: {_VERDICT[report.triage]}",
        f"Model       {model.name} {model.version}, weights {model.weights_sha256[:12]}",
        *([f"            {model.statement}"] if model.statement else []),
        f"Study       {report.study_instance_uid}",
        f"Accession   {report.accession_number or '-'}",
        f"Series read {report.series_instance_uid or '-'}",
        f"Report      {report.sop_instance_uid}",
        *([f"Replaces    {report.predecessor}"] if report.predecessor else []),
        f"Created     {report.created_at.replace('T', ' ')} by ichd {report.software_version}",
        "",
        f"{'kind':<18}{'presence':<14}{'probability':>11}  {'':<{_BAR_WIDTH}}  key slices (end of SOP Instance UID)",
        *(_row(c) for c in report.classes),
        "",
        *report.comments,
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


_VERDICT: Mapping[Triage, str] = {
    Triage.URGENT: "URGENT",
    Triage.ROUTINE: "routine",
    Triage.INDETERMINATE: "INDETERMINATE, a person must look",
}


def _row(finding: ReadableClass) -> str:
    filled = round(finding.probability * _BAR_WIDTH)
    bar = "█" * filled + "·" * (_BAR_WIDTH - filled)
    slices = ", ".join(map(_key_slice, finding.key_slices, finding.key_frames)) or "-"
    return f"{finding.name:<18}{finding.presence:<14}{_percent(finding.probability):>11}  {bar}  {slices}"


def _key_slice(uid: str, frame: int | None) -> str:
    return f"…{uid[-8:]}" if frame is None else f"…{uid[-8:]} frame {frame}"


def _percent(probability: float) -> str:
    """One decimal, and never certainty that the model did not express."""
    if 0.0 < probability < 0.0005:
        return "<0.1 %"
    if 0.9995 <= probability < 1.0:
        return ">99.9 %"
    return f"{100 * probability:.1f} %"
