"""A finding as HL7 v2.5.1 text: the result (ORU^R01), and the wish to have an urgent study read first (ORM^O01).

    MSH  PID  PV1  ORC  OBR           who, which order, which study
    NTE                               AI result, not a diagnosis; what a reader must know
    OBX  Study Instance UID           113014^DICOM Study^DCM, as IHE has it in RAD-128
    OBX  a pair for each kind         presence, coded, and probability, in percent; OBX-4 holds the two together
    OBX  triage, algorithm            level; name, version, hash of the weights

Everything in a message follows from its arguments, its control id (MSH-10) and its times included: the same result is
the same message, however often it is sent, and a receiver may know it again.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom import Dataset
from pydicom.sr.coding import Code

from ichd.domain.delivery import ObjectKind
from ichd.domain.finding import ClassFinding, Finding, ModelIdentity, Presence, Triage
from ichd.domain.reason import Reason
from ichd.report import codes
from ichd.report.hl7_patient import Order, order_of, patient, study_moment, visit
from ichd.report.hl7_text import Field, components, header, message, segment, text, timestamp
from ichd.report.source import legible, local_time, source_of
from ichd.report.sr import HIGHEST_SLICE, NOT_A_DIAGNOSIS, ReportContext

#: Sending application, MSH-3.
APPLICATION = "ICHD"
#: MSH-10 holds no more (HL7 v2.5.1 2.14.9.10).
CONTROL_ID_LENGTH = 20
_STUDY = Code("113014", "DCM", "DICOM Study")
_NOT_ANALYSED = Code("not_analysed", codes.PRIVATE_SCHEME, "Study not analysed")
#: Abnormal, HL7 table 0078.
_ABNORMAL = Field("A")
_DIAGNOSTIC_SECTION = Field("CT")


@dataclass(frozen=True, kw_only=True)
class Addressee:
    """To whom a message goes."""

    #: Name of the destination in the settings.
    destination: str
    #: MSH-5 and MSH-6; empty where the receiver does not ask for them.
    application: str = ""
    facility: str = ""


@dataclass(frozen=True, kw_only=True)
class _Letter:
    """What every segment of one message may need."""

    study_uid: str
    #: sha256 of the bundle that spoke; empty where none did.
    bundle_sha256: str
    demonstration: bool
    source: Dataset
    order: Order
    created_at: datetime
    context: ReportContext
    addressee: Addressee

    @property
    def status(self) -> Field:
        """OBR-25 and OBX-11 (tables 0123 and 0085): preliminary, as nobody has verified it, or a correction.

        A revision corrects only where an earlier one was sent: the others are the first that a receiver hears of it.
        """
        return Field("C" if self.context.predecessor else "P")


def build_oru(finding: Finding, sources: Sequence[Dataset], context: ReportContext, addressee: Addressee) -> bytes:
    """The result of a study that was read (UTF-8).

    `sources` are headers of images of the study; the first that belongs to it gives patient and order.

    Raises:
        Permanent: REPORT_INVALID: no source of this study.
    """
    prediction = finding.prediction
    letter = _letter(prediction.study_instance_uid, prediction.model, sources, context, addressee)
    observations = [
        _observation(letter, "ST", _STUDY, text(letter.study_uid)),
        *(each for number, c in enumerate(finding.classes, 1) for each in _pair(letter, number, c)),
        _observation(
            letter,
            "CWE",
            codes.TRIAGE,
            _coded(codes.TRIAGE_VALUE[finding.triage]),
            flag=_ABNORMAL if finding.triage is Triage.URGENT else None,
        ),
        *_algorithm(letter, prediction.model),
    ]
    return message(
        [
            *_opening(letter, ObjectKind.RESULT, "ORU^R01^ORU_R01"),
            segment("ORC", {1: Field("RE"), **letter.order.numbers}),
            _request(letter),
            *_notes(_comments(finding, context)),
            *_numbered(observations),
        ]
    )


def build_unread_oru(
    *,
    study_uid: str,
    reason: Reason,
    detail: str,
    sources: Sequence[Dataset],
    context: ReportContext,
    addressee: Addressee,
) -> bytes:
    """The message about a study that was not read: no result, and the coded reason.

    Raises:
        Permanent: REPORT_INVALID: no source of this study.
    """
    letter = _letter(study_uid, None, sources, context, addressee)
    why = Code(str(reason), codes.PRIVATE_SCHEME, reason.meaning)
    observations = [
        _observation(letter, "ST", _STUDY, text(study_uid)),
        # X: no result can be had (table 0085). In OBR-25 it would cancel the order, which is none of our business.
        _observation(letter, "CWE", _NOT_ANALYSED, _coded(why), status=Field("X")),
    ]
    words = f"The study was not analysed: {reason.meaning}" + (f" ({detail})" if detail else "")
    return message(
        [
            *_opening(letter, ObjectKind.RESULT, "ORU^R01^ORU_R01"),
            segment("ORC", {1: Field("RE"), **letter.order.numbers}),
            _request(letter),
            *_notes([f"{words}.", "No AI result: nothing is said about the presence or absence of haemorrhage."]),
            *_numbered(observations),
        ]
    )


def build_priority(
    finding: Finding, sources: Sequence[Dataset], context: ReportContext, addressee: Addressee
) -> bytes | None:
    """The wish to have a study read first; None unless its finding is urgent.

    The order is changed (XO) and named by all that its keeper may know it by: order numbers, accession number, study.
    The priority stands in TQ1-9 and, for older receivers, in the two fields that were withdrawn in its favour.

    Raises:
        Permanent: REPORT_INVALID: no source of this study.
    """
    if finding.triage is not Triage.URGENT:
        return None
    prediction = finding.prediction
    letter = _letter(prediction.study_instance_uid, prediction.model, sources, context, addressee)
    stat = Field("^^^^^S")
    return message(
        [
            *_opening(letter, ObjectKind.PRIORITY, "ORM^O01^ORM_O01"),
            segment("ORC", {1: Field("XO"), **letter.order.numbers, 7: stat, 9: timestamp(letter.created_at)}),
            segment("TQ1", {1: Field("1"), 9: components("S", "Stat", "HL70485")}),
            segment(
                "OBR",
                {
                    1: Field("1"),
                    **letter.order.numbers,
                    4: _coded(codes.CT_OF_HEAD),
                    18: text(letter.order.accession),
                    24: _DIAGNOSTIC_SECTION,
                    27: stat,
                },
            ),
            *_notes([f"{NOT_A_DIAGNOSIS} Triage level: urgent."]),
            *_numbered([_observation(letter, "ST", _STUDY, text(letter.study_uid))]),
            # As the order's filler names a study to the archive (IHE RAD-4).
            segment("ZDS", {1: components(letter.study_uid, APPLICATION, "Application", "DICOM")}),
        ]
    )


def control_id(*, study_uid: str, bundle_sha256: str, revision: int, kind: ObjectKind, destination: str) -> str:
    """MSH-10, derived: a resend is the same message, and each destination has its own."""
    told = "/".join((study_uid, bundle_sha256, str(revision), str(kind), destination))
    return base64.b32encode(hashlib.sha256(told.encode()).digest()).decode("ascii")[:CONTROL_ID_LENGTH]


def _letter(
    study_uid: str,
    model: ModelIdentity | None,
    sources: Sequence[Dataset],
    context: ReportContext,
    addressee: Addressee,
) -> _Letter:
    source = legible(source_of(sources, study_uid))
    return _Letter(
        study_uid=study_uid,
        bundle_sha256=model.bundle_sha256 if model else "",
        demonstration=model is not None and model.demonstration,
        source=source,
        order=order_of(source),
        created_at=local_time(context.created_at, source),
        context=context,
        addressee=addressee,
    )


def _opening(letter: _Letter, kind: ObjectKind, message_type: str) -> list[Field]:
    """MSH, PID, PV1."""
    return [
        header(
            {
                3: Field(APPLICATION),
                5: text(letter.addressee.application),
                6: text(letter.addressee.facility),
                7: timestamp(letter.created_at),
                9: Field(message_type),
                10: Field(
                    control_id(
                        study_uid=letter.study_uid,
                        bundle_sha256=letter.bundle_sha256,
                        revision=letter.context.revision,
                        kind=kind,
                        destination=letter.addressee.destination,
                    )
                ),
                # Table 0103. What a demonstration model says is for training: a receiver in production turns it away
                # or files it apart, which is what should become of it if it ever gets there.
                11: Field("T" if letter.demonstration else "P"),
                12: Field("2.5.1"),
                18: Field("UNICODE UTF-8"),
            }
        ),
        patient(letter.source),
        visit(),
    ]


def _request(letter: _Letter) -> Field:
    """OBR."""
    return segment(
        "OBR",
        {
            1: Field("1"),
            **letter.order.numbers,
            4: _coded(codes.CT_OF_HEAD),
            7: study_moment(letter.source),
            18: text(letter.order.accession),
            22: timestamp(letter.created_at),
            24: _DIAGNOSTIC_SECTION,
            25: letter.status,
        },
    )


def _pair(letter: _Letter, number: int, found: ClassFinding) -> Iterator[dict[int, Field]]:
    """Presence and probability of one kind of haemorrhage."""
    sub_id = Field(str(number))
    yield _observation(
        letter,
        "CWE",
        codes.FINDING_TYPE[found.name],
        _coded(codes.PRESENCE_VALUE[found.presence]),
        sub_id=sub_id,
        # Nothing is said to be normal where it is absent: one kind of blood less is not a healthy head.
        flag=_ABNORMAL if found.presence is Presence.PRESENT else None,
    )
    yield _observation(
        letter,
        "NM",
        codes.PROBABILITY,
        # An NM has no exponent (2.A.47).
        Field(f"{100 * found.probability:.4f}"),
        sub_id=sub_id,
        unit=codes.PERCENT,
    )


def _algorithm(letter: _Letter, model: ModelIdentity) -> Iterator[dict[int, Field]]:
    yield _observation(letter, "ST", codes.ALGORITHM_NAME, text(model.name))
    yield _observation(letter, "ST", codes.ALGORITHM_VERSION, text(model.version))
    parameters = (
        f"weights_sha256={model.weights_sha256}",
        f"bundle_sha256={model.bundle_sha256}",
        f"demonstration={'yes' if model.demonstration else 'no'}",
        f"ichd={letter.context.software_version}",
    )
    for number, parameter in enumerate(parameters, 1):
        yield _observation(letter, "ST", codes.ALGORITHM_PARAMETERS, text(parameter), sub_id=Field(str(number)))


def _observation(
    letter: _Letter,
    value_type: str,
    name: Code,
    value: Field,
    *,
    sub_id: Field | None = None,
    unit: Code | None = None,
    flag: Field | None = None,
    status: Field | None = None,
) -> dict[int, Field]:
    """The fields of an OBX, but for its number."""
    fields = {
        2: Field(value_type),
        3: _coded(name),
        4: sub_id,
        5: value,
        6: unit and _coded(unit),
        8: flag,
        11: status or letter.status,
        14: study_moment(letter.source),
        17: _coded(codes.ARTIFICIAL_INTELLIGENCE),
        19: timestamp(letter.created_at),
    }
    return {number: field for number, field in fields.items() if field}


def _numbered(observations: Sequence[dict[int, Field]]) -> list[Field]:
    return [segment("OBX", {1: Field(str(number)), **fields}) for number, fields in enumerate(observations, 1)]


def _notes(comments: Sequence[str]) -> list[Field]:
    return [
        segment("NTE", {1: Field(str(number)), 2: Field("L"), 3: text(comment)})
        for number, comment in enumerate(comments, 1)
    ]


def _comments(finding: Finding, context: ReportContext) -> list[str]:
    """What must be read before the result; why each series was not read is left to the Structured Report."""
    model = finding.prediction.model
    comments = [NOT_A_DIAGNOSIS]
    if model.statement:
        comments.append(f"{model.name} {model.version}: {model.statement}")
    comments.append(HIGHEST_SLICE)
    comments += [f"Input: {note}." for note in finding.prediction.notes]
    if context.skipped:
        comments.append(f"Series of the study that were not read: {len(context.skipped)}.")
    return comments


def _coded(code: Code) -> Field:
    return components(code.value, code.meaning, code.scheme_designator)
