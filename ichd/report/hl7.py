"""A finding as HL7 v2.5.1 text: the result (ORU^R01), and the wish to have an urgent study read first (ORM^O01).

    MSH  PID  PV1  ORC  OBR           who, which order, which study
    NTE                               AI result, not a diagnosis; what a reader must know
    OBX  Study Instance UID           113014^DICOM Study^DCM, as IHE has it in RAD-128
    OBX  a pair for each kind         presence, coded, and probability, in percent; OBX-4 holds the two together
    OBX  triage, status, algorithm    level; demonstration or research; name, version, hash of the weights

Everything in a message follows from its arguments, its control id (MSH-10) and its times included: the same result is
the same message, however often it is sent, and a receiver may know it again.
"""

from collections.abc import Iterator, Sequence

from pydicom import Dataset
from pydicom.sr.coding import Code

from ichd.domain.delivery import ObjectKind
from ichd.domain.finding import ClassFinding, Finding, ModelIdentity, Presence, Triage
from ichd.domain.wording import meaning_of_probabilities
from ichd.report import codes
from ichd.report.document import NOT_A_DIAGNOSIS, ReportContext
from ichd.report.hl7_letter import (
    APPLICATION,
    DIAGNOSTIC_SECTION,
    Addressee,
    Letter,
    coded,
    letter_on,
    letter_to,
    notes,
    numbered,
    observation,
    opening,
    request,
)
from ichd.report.hl7_text import Field, components, message, segment, text, timestamp
from ichd.report.identity import Edition
from ichd.report.unread import NOT_ANALYSED, Unread

_STUDY = Code("113014", "DCM", "DICOM Study")
__all__ = ["Addressee", "build_oru", "build_priority", "build_unread_oru"]

#: Abnormal, HL7 table 0078.
_ABNORMAL = Field("A")


def build_oru(finding: Finding, sources: Sequence[Dataset], context: ReportContext, addressee: Addressee) -> bytes:
    """The result of a study that was read (UTF-8).

    `sources` are headers of images of the study; the first that belongs to it gives patient and order.

    Raises:
        Permanent: REPORT_INVALID: no source of this study.
    """
    prediction = finding.prediction
    letter = letter_on(prediction, sources, context, addressee)
    observations = [
        observation(letter, "ST", _STUDY, text(letter.edition.study_instance_uid)),
        *(each for number, c in enumerate(finding.classes, 1) for each in _pair(letter, number, c)),
        observation(
            letter,
            "CWE",
            codes.TRIAGE,
            coded(codes.TRIAGE_VALUE[finding.triage]),
            flag=_ABNORMAL if finding.triage is Triage.URGENT else None,
        ),
        observation(
            letter,
            "CWE",
            codes.STATUS,
            coded(codes.DEMONSTRATION if prediction.model.demonstration else codes.RESEARCH),
        ),
        *_algorithm(letter, prediction.model),
    ]
    return message(
        [
            *opening(letter, ObjectKind.RESULT, "ORU^R01^ORU_R01"),
            segment("ORC", {1: Field("RE"), **letter.order.numbers}),
            request(letter),
            *notes(_comments(finding, context)),
            *numbered(observations),
        ]
    )


def build_unread_oru(unread: Unread, sources: Sequence[Dataset], context: ReportContext, addressee: Addressee) -> bytes:
    """The message about a study that was not read: no result, and the coded reason.

    Raises:
        Permanent: REPORT_INVALID: no source of this study.
    """
    edition = Edition(study_instance_uid=unread.study_instance_uid, revision=context.revision)
    letter = letter_to(edition, sources, context, addressee)
    # X: no result can be had (table 0085). In OBR-25 it would cancel the order, which is none of our business.
    no_result = Field("X")
    detail = f" ({unread.detail})" if unread.detail else ""
    observations = [
        observation(letter, "ST", _STUDY, text(unread.study_instance_uid)),
        observation(letter, "CWE", codes.ANALYSIS, coded(codes.NOT_ANALYSED), status=no_result),
        observation(letter, "CWE", codes.REASON, coded(codes.reason_code(unread.reason)), status=no_result),
    ]
    return message(
        [
            *opening(letter, ObjectKind.RESULT, "ORU^R01^ORU_R01"),
            segment("ORC", {1: Field("RE"), **letter.order.numbers}),
            request(letter, codes.CT),
            *notes([NOT_ANALYSED, f"Reason: {unread.reason.meaning}{detail}."]),
            *numbered(observations),
        ]
    )


def build_priority(
    finding: Finding, sources: Sequence[Dataset], context: ReportContext, addressee: Addressee
) -> bytes | None:
    """The wish to have a study read first; None unless its finding is urgent, and the images name its order.

    The order is changed (XO) and named by all that its keeper may know it by: order numbers, accession number, study.
    The priority stands in ORC-7 and OBR-27: this message has no place for TQ1, which orders of later kinds have.

    Raises:
        Permanent: REPORT_INVALID: no source of this study.
    """
    if finding.triage is not Triage.URGENT:
        return None
    prediction = finding.prediction
    letter = letter_on(prediction, sources, context, addressee)
    if not (letter.order.placer or letter.order.filler or letter.order.accession):
        return None  # nobody could say which order is meant
    stat = Field("^^^^^S")
    return message(
        [
            *opening(letter, ObjectKind.PRIORITY, "ORM^O01^ORM_O01"),
            segment("ORC", {1: Field("XO"), **letter.order.numbers, 7: stat, 9: timestamp(letter.created_at)}),
            segment(
                "OBR",
                {
                    1: Field("1"),
                    **letter.order.numbers,
                    4: coded(codes.CT_OF_HEAD),
                    18: text(letter.order.accession),
                    24: DIAGNOSTIC_SECTION,
                    27: stat,
                },
            ),
            *notes([f"{NOT_A_DIAGNOSIS} Triage level: urgent."]),
            *numbered([observation(letter, "ST", _STUDY, text(letter.edition.study_instance_uid))]),
            # As the order's filler names a study to the archive (IHE RAD-4).
            segment("ZDS", {1: components(letter.edition.study_instance_uid, APPLICATION, "Application", "DICOM")}),
        ]
    )


def _pair(letter: Letter, number: int, found: ClassFinding) -> Iterator[dict[int, Field]]:
    """Presence and probability of one kind of haemorrhage."""
    sub_id = Field(str(number))
    yield observation(
        letter,
        "CWE",
        codes.FINDING_TYPE[found.name],
        coded(codes.PRESENCE_VALUE[found.presence]),
        sub_id=sub_id,
        # Nothing is said to be normal where it is absent: one kind of blood less is not a healthy head.
        flag=_ABNORMAL if found.presence is Presence.PRESENT else None,
    )
    yield observation(
        letter,
        "NM",
        codes.PROBABILITY,
        # An NM has no exponent (2.A.47).
        Field(f"{100 * found.probability:.4f}"),
        sub_id=sub_id,
        unit=codes.PERCENT,
    )


def _algorithm(letter: Letter, model: ModelIdentity) -> Iterator[dict[int, Field]]:
    yield observation(letter, "ST", codes.ALGORITHM_NAME, text(model.name))
    yield observation(letter, "ST", codes.ALGORITHM_VERSION, text(model.version))
    parameters = (
        f"weights_sha256={model.weights_sha256}",
        f"bundle_sha256={model.bundle_sha256}",
        f"demonstration={'yes' if model.demonstration else 'no'}",
        f"ichd={letter.context.software_version}",
    )
    for number, parameter in enumerate(parameters, 1):
        yield observation(letter, "ST", codes.ALGORITHM_PARAMETERS, text(parameter), sub_id=Field(str(number)))


def _comments(finding: Finding, context: ReportContext) -> list[str]:
    """What must be read before the result; why each series was not read is left to the Structured Report."""
    model = finding.prediction.model
    comments = [NOT_A_DIAGNOSIS]
    if model.statement:
        comments.append(f"{model.name} {model.version}: {model.statement}")
    comments.append(meaning_of_probabilities(finding))
    comments += [f"Input: {note}." for note in finding.prediction.notes]
    if context.skipped:
        comments.append(f"Series of the study that were not read: {len(context.skipped)}.")
    return comments
