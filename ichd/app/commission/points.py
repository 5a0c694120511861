"""What is checked of a trip, point by point: what was expected, what was found, whether that is right."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from ichd.app.commission.phantoms import PATIENT_NAME, PhantomStudy
from ichd.app.commission.trip import Trip
from ichd.domain.delivery import ObjectKind
from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES, ModelIdentity, Presence, Triage
from ichd.domain.study import StudyState
from ichd.report.readable import ReadableClass, ReadableReport, read_report
from ichd.report.template import deviations

_KINDS = {ObjectKind.KO: "key objects", ObjectKind.SC: "summary page"}


@dataclass(frozen=True, kw_only=True)
class Point:
    """One line of an acceptance report."""

    name: str
    expected: str
    found: str
    ok: bool
    #: Of a line that failed: what it means, or the mend.
    note: str = ""


def points_of(trip: Trip, model: ModelIdentity, *, timeout_s: float) -> tuple[Point, ...]:
    """All points of one trip, as far as it went; a trip that ended early ends with the one that failed."""
    return (*_of_the_route(trip, timeout_s), *_of_the_content(trip, model))


def _of_the_route(trip: Trip, timeout_s: float) -> Iterator[Point]:
    images = len(trip.study.images)
    sent = trip.acknowledged == images
    yield Point(
        name="Images acknowledged",
        expected=f"{images}",
        found=f"{trip.acknowledged}",
        ok=sent,
        note="" if sent else trip.trouble,
    )
    if not sent:
        return
    taken = trip.receipt is not None
    yield Point(
        name="Report acknowledged",
        expected="a success status",
        found=f"{trip.receipt.status}" if trip.receipt else (str(trip.state or StudyState.RECEIVING)),
        ok=taken,
        note="" if taken else trip.trouble,
    )
    if not taken:
        return
    listed = trip.listed is not None
    yield Point(
        name="Report listed",
        expected=f"within {timeout_s:g} s",
        found=f"after {trip.archived_s:.1f} s" if trip.archived_s is not None else "not listed",
        ok=listed,
        note="" if listed else trip.trouble,
    )
    for kind, count in trip.beside.items():
        yield Point(
            name=f"{_KINDS[kind].capitalize()} listed",
            expected="1" if kind is ObjectKind.SC or trip.study.bleed else "none, or 1",
            found=f"{count}",
            ok=count == 1 or (kind is ObjectKind.KO and trip.study.bleed is None),
        )


def _of_the_content(trip: Trip, model: ModelIdentity) -> Iterator[Point]:
    if trip.listed is None:
        return
    if trip.report is None:
        yield Point(
            name="Report handed back",
            expected="by the archive, or a copy of what was sent",
            found="neither",
            ok=False,
            note=trip.not_handed_back,
        )
        return
    yield _whose_copy(trip)
    yield from _identity(trip.report, trip.study)
    try:
        report = read_report(trip.report)
    except UserError as error:
        yield Point(name="Content", expected="a report on a finding", found="something else", ok=False, note=str(error))
        return
    wrong = deviations(trip.report)
    yield Point(
        name="Template",
        expected="TID 1500",
        found=f"{len(wrong)} deviations",
        ok=not wrong,
        note="; ".join(map(str, wrong[:3])),
    )
    yield _model(report, model)
    yield Point(name="Predecessor", expected="none", found=report.predecessor or "none", ok=report.predecessor is None)
    yield from _finding(report, trip.study)


def _whose_copy(trip: Trip) -> Point:
    return Point(
        name="Report handed back",
        expected="by the archive, or a copy of what was sent",
        found="by the archive" if trip.handed_back else "the copy that was sent",
        ok=True,
        note="" if trip.handed_back else f"The archive hands nothing over: {trip.not_handed_back}",
    )


def _identity(report: Dataset, study: PhantomStudy) -> Iterator[Point]:
    for name, keyword, expected in (
        ("Patient's name", "PatientName", PATIENT_NAME),
        ("Patient ID", "PatientID", study.patient_id),
        ("Accession number", "AccessionNumber", study.accession_number),
        ("Study Instance UID", "StudyInstanceUID", study.study_uid),
    ):
        found = str(report.get(keyword) or "")
        yield Point(name=name, expected=expected, found=found or "-", ok=found == expected)


def _model(report: ReadableReport, model: ModelIdentity) -> Point:
    found = report.model
    return Point(
        name="Model",
        expected=f"{model.name} {model.version}, weights {model.weights_sha256[:12]}",
        found=f"{found.name} {found.version}, weights {found.weights_sha256[:12]}",
        ok=(found.name, found.version, found.weights_sha256, found.bundle_sha256)
        == (model.name, model.version, model.weights_sha256, model.bundle_sha256),
        note="",
    )


def _finding(report: ReadableReport, study: PhantomStudy) -> Iterator[Point]:
    by_name = {each.name: each for each in report.classes}
    called = [name for name in CLASSES[1:] if by_name[name].presence is Presence.PRESENT]
    if study.bleed is None:
        yield Point(
            name="Triage",
            expected=str(Triage.ROUTINE),
            found=str(report.triage),
            ok=report.triage is Triage.ROUTINE,
            note="" if report.triage is Triage.ROUTINE else "The model does not take a healthy phantom for one.",
        )
        any_called = by_name[CLASSES[0]].presence is Presence.PRESENT
        yield Point(
            name="Kinds called",
            expected="none",
            found=", ".join(called) or ("any" if any_called else "none"),
            ok=not called and not any_called,
        )
        return
    yield Point(
        name="Triage",
        expected=str(Triage.URGENT),
        found=str(report.triage),
        ok=report.triage is Triage.URGENT,
        note="" if report.triage is Triage.URGENT else "The model misses the bleed; the route works.",
    )
    own = by_name[study.bleed]
    yield Point(
        name="Kind called",
        expected=study.bleed,
        found=f"{', '.join(called) or 'none'} (at {100 * own.probability:.0f} %)",
        ok=study.bleed in called,
        note="" if study.bleed in called else f"The model does not call {study.bleed}; the route works.",
    )
    yield _key_slices(own, study)


def _key_slices(own: ReadableClass, study: PhantomStudy) -> Point:
    numbers = {uid: place for place, uid in enumerate(study.images, start=1)}
    found = sorted(numbers.get(uid, 0) for uid in own.key_slices)
    true = sorted(numbers[uid] for uid in study.blood_mm2)
    outside = [number for number in found if number not in true]
    return Point(
        name="Key slices",
        expected=f"among {_span(true)}",
        found=", ".join(map(str, found)) or "none",
        ok=bool(found) and not outside,
        note=f"Slices {', '.join(map(str, outside))} show no blood." if outside else "",
    )


def _span(numbers: list[int]) -> str:
    whole = numbers == list(range(numbers[0], numbers[-1] + 1)) if numbers else False
    return f"{numbers[0]} to {numbers[-1]}" if whole else ", ".join(map(str, numbers))
