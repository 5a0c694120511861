"""A report of ours, read back from its tree by codes and shown to a person.

The parser walks the content tree itself: it finds items by the codes of their names, wherever they stand among their
siblings, and believes nothing else. So it reads what a PACS hands back, re-encoded or with attributes coerced.
"""

from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES, ModelIdentity, Presence, Threshold, Triage
from ichd.domain.note import Remark
from ichd.domain.reason import Reason
from ichd.report import codes
from ichd.report.tree import child, children, code_in, decode, is_coded, key_of


@dataclass(frozen=True, kw_only=True)
class ReadableClass:
    """One Measurement Group: what the report says of one kind of haemorrhage."""

    name: str
    #: Scan level, 0 to 1.
    probability: float
    #: The maximum over the slices; None in a report that calibrates scans and does not say it.
    highest_slice: float | None
    presence: Presence
    threshold: Threshold
    #: SOP Instance UIDs, highest probability first; empty when the class is absent.
    key_slices: tuple[str, ...]
    #: Beside each of `key_slices`: the frame of a multi-frame image, counted from 1, else None.
    key_frames: tuple[int | None, ...]
    #: Beside each of `key_slices`: its probability, 0 to 1; None in a report of before these were said.
    key_probabilities: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class _Document:
    """What both kinds of report say of themselves and of the input."""

    study_instance_uid: str
    sop_instance_uid: str
    #: Which rung of the capability ladder it is.
    sop_class_uid: str
    accession_number: str
    #: Content Date and Time, ISO 8601 without an offset, on the clock of the study.
    created_at: str
    software_version: str
    #: All sentences, in their order.
    comments: tuple[str, ...]
    #: Why series were not read, in the order of their comments.
    skipped: tuple[Reason, ...]
    #: SOP Instance UID of the report that this one replaces.
    predecessor: str | None
    #: Whether the result is a demonstration or for research, in words; empty in a report of before this was said.
    status: str

    def _to_dict(self) -> dict[str, Any]:
        return {
            "study_uid": self.study_instance_uid,
            "report_uid": self.sop_instance_uid,
            "sop_class_uid": self.sop_class_uid,
            "predecessor_uid": self.predecessor,
            "accession_number": self.accession_number,
            "created_at": self.created_at,
            "software_version": self.software_version,
            "status": self.status,
            "comments": list(self.comments),
            "skipped_reasons": [str(reason) for reason in self.skipped],
            "classes": list(CLASSES),
        }


@dataclass(frozen=True, kw_only=True)
class ReadableUnread(_Document):
    """What the short report on a study that was not read says, beside the patient."""

    reason: Reason

    def to_dict(self) -> dict[str, Any]:
        """JSON types, with the keys of interface.md where it has them."""
        return {
            **self._to_dict(),
            "series_uid": None,
            "state": "not_analysed",
            "reason": str(self.reason),
            "model": None,
            "scan": None,
            "triage": None,
        }


@dataclass(frozen=True, kw_only=True)
class ReadableReport(_Document):
    """Everything that a report of ours on a finding says, beside the patient."""

    #: The series that was read, None where the report references no image.
    series_instance_uid: str | None
    model: ModelIdentity
    triage: Triage
    #: In the order of `CLASSES`.
    classes: tuple[ReadableClass, ...]
    #: What was noticed about the input.
    remarks: tuple[Remark, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON types, with the keys of interface.md where it has them."""
        return {
            **self._to_dict(),
            "series_uid": self.series_instance_uid,
            "model": {
                "name": self.model.name,
                "version": self.model.version,
                "weights_sha256": self.model.weights_sha256,
                "bundle_sha256": self.model.bundle_sha256,
                "statement": self.model.statement,
                "demonstration": self.model.demonstration,
            },
            "scan": {c.name: c.probability for c in self.classes},
            "highest_slice": {c.name: c.highest_slice for c in self.classes},
            "presence": {c.name: str(c.presence) for c in self.classes},
            "thresholds": {
                c.name: {"present_from": c.threshold.present_from, "absent_below": c.threshold.absent_below}
                for c in self.classes
            },
            "key_slices": {c.name: list(c.key_slices) for c in self.classes},
            "key_frames": {c.name: list(c.key_frames) for c in self.classes},
            "key_probabilities": {c.name: list(c.key_probabilities) for c in self.classes},
            "triage": str(self.triage),
            "remarks": [str(remark) for remark in self.remarks],
        }


def read_report(dataset: Dataset) -> ReadableReport:
    """Parse a Measurement Report of ours on a finding, in any of its SOP classes.

    Raises:
        UserError: it is something else, or damaged.
    """
    report = read_document(dataset)
    if isinstance(report, ReadableUnread):
        raise UserError(f"this report is on a study that was not analysed ({report.reason}); it has no finding")
    return report


def read_document(dataset: Dataset) -> ReadableReport | ReadableUnread:
    """Parse a Measurement Report of ours, be it on a finding or on a study that was not read.

    Raises:
        UserError: it is something else, or damaged.
    """
    if not is_coded(dataset.get("ConceptNameCodeSequence"), codes.IMAGING_MEASUREMENT_REPORT):
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


def _parse(report: Dataset) -> ReadableReport | ReadableUnread:
    evaluations = child(report, codes.QUALITATIVE_EVALUATIONS)
    named = [code_in(item.get("ConceptNameCodeSequence")) for item in evaluations.ContentSequence]
    predecessors = report.get("PredecessorDocumentsSequence")
    status = next(children(evaluations, codes.STATUS), None)
    said: dict[str, Any] = {
        "study_instance_uid": str(report.StudyInstanceUID),
        "sop_instance_uid": str(report.SOPInstanceUID),
        "sop_class_uid": str(report.SOPClassUID),
        "accession_number": str(report.get("AccessionNumber") or ""),
        "created_at": _iso(str(report.ContentDate), str(report.ContentTime)),
        "software_version": _first(report.get("SoftwareVersions")),
        "comments": tuple(str(c.TextValue) for c in evaluations.ContentSequence if c.get("ValueType") == "TEXT"),
        "skipped": tuple(code for name in named for code in Reason if name == key_of(codes.reason_code(code))),
        "predecessor": (
            str(predecessors[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
            if predecessors
            else None
        ),
        "status": "" if status is None else str(status.ConceptCodeSequence[0].CodeMeaning),
    }
    if any(children(evaluations, codes.ANALYSIS)):
        reasons = {reason: codes.reason_code(reason) for reason in Reason}
        return ReadableUnread(**said, reason=decode(child(evaluations, codes.REASON), reasons))
    groups = list(children(child(report, codes.IMAGING_MEASUREMENTS), codes.MEASUREMENT_GROUP))
    by_name = {_class_name(group): group for group in groups}
    return ReadableReport(
        **said,
        series_instance_uid=_series_read(report),
        model=_model(by_name[CLASSES[0]]),
        triage=decode(child(evaluations, codes.TRIAGE), codes.TRIAGE_VALUE),
        classes=tuple(_read_class(name, by_name[name]) for name in CLASSES),
        remarks=tuple(remark for name in named for remark in Remark if name == key_of(codes.remark_code(remark))),
    )


def _read_class(name: str, group: Dataset) -> ReadableClass:
    parameters = _parameters(group)
    key_slices = [image.ReferencedSOPSequence[0] for image in children(group, codes.SOURCE_OF_MEASUREMENT)]
    of_slices = _probabilities_of_slices(group)
    return ReadableClass(
        name=name,
        probability=_probability_of_scan(group),
        highest_slice=_highest_slice(group),
        presence=decode(child(group, codes.PRESENCE), codes.PRESENCE_VALUE),
        threshold=Threshold(
            present_from=float(parameters["present_from"]), absent_below=float(parameters["absent_below"])
        ),
        key_slices=tuple(str(image.ReferencedSOPInstanceUID) for image in key_slices),
        key_frames=tuple(_frame(image) for image in key_slices),
        key_probabilities=tuple(of_slices.get(_place(image)) for image in key_slices),
    )


def _probability_of_scan(group: Dataset) -> float:
    """The first that is derived; before slices had theirs it was the only one, and said of nothing derived."""
    items = list(children(group, codes.PROBABILITY))
    derived = (item for item in items if any(children(item, codes.DERIVATION)))
    scan = next(derived, None) or next((item for item in items if not item.get("ContentSequence")), None)
    if scan is None:
        raise LookupError(f"it has no {codes.PROBABILITY.meaning} of the scan")
    return _probability(scan)


def _highest_slice(group: Dataset) -> float | None:
    items = ((item, d) for item in children(group, codes.PROBABILITY) for d in children(item, codes.DERIVATION))
    return next((_probability(item) for item, d in items if is_coded(d.ConceptCodeSequence, codes.MAXIMUM)), None)


def _probabilities_of_slices(group: Dataset) -> dict[tuple[str, int | None], float]:
    return {
        _place(image.ReferencedSOPSequence[0]): _probability(item)
        for item in children(group, codes.PROBABILITY)
        for image in children(item, codes.SOURCE_OF_MEASUREMENT)
    }


def _probability(item: Dataset) -> float:
    measured = item.MeasuredValueSequence[0]
    precise = measured.get("FloatingPointValue")
    # By its text: a report that was just built carries a longer number than any file of it can.
    return float(str(measured.NumericValue) if precise is None else precise) / 100.0


def _place(reference: Dataset) -> tuple[str, int | None]:
    return str(reference.ReferencedSOPInstanceUID), _frame(reference)


def _frame(reference: Dataset) -> int | None:
    """The one frame that is referenced (PS3.3 C.18.4), None for a whole image."""
    number = reference.get("ReferencedFrameNumber")
    return None if number is None else int(number)


def _model(group: Dataset) -> ModelIdentity:
    parameters = _parameters(group)
    return ModelIdentity(
        name=str(child(group, codes.ALGORITHM_NAME).TextValue),
        version=str(child(group, codes.ALGORITHM_VERSION).TextValue),
        weights_sha256=parameters["weights_sha256"],
        bundle_sha256=parameters["bundle_sha256"],
        statement=parameters.get("statement", ""),
        demonstration=parameters["demonstration"] == "yes",
    )


def _parameters(group: Dataset) -> dict[str, str]:
    pairs = (str(p.TextValue).partition("=") for p in children(group, codes.ALGORITHM_PARAMETERS))
    return {key: value for key, _, value in pairs}


def _class_name(group: Dataset) -> str:
    value = child(group, codes.FINDING).ConceptCodeSequence
    return next((name for name, code in codes.FINDING_TYPE.items() if is_coded(value, code)), "")


def _series_read(report: Dataset) -> str | None:
    for study in report.get("CurrentRequestedProcedureEvidenceSequence") or ():
        for series in study.ReferencedSeriesSequence:
            return str(series.SeriesInstanceUID)
    return None


def _first(value: Any) -> str:
    """First value of a text attribute, whether it holds none, one or several."""
    if not value:
        return ""
    return value if isinstance(value, str) else str(value[0])


def _iso(date: str, time: str) -> str:
    return f"{date[:4]}-{date[4:6]}-{date[6:8]}T{time[:2]}:{time[2:4]}:{time[4:6]}"
