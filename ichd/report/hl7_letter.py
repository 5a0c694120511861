"""What the HL7 messages of ours have in common: whose they are, to whom they go, and the segments that all have."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom import Dataset
from pydicom.sr.coding import Code

from ichd.domain.delivery import ObjectKind
from ichd.domain.finding import Prediction
from ichd.report import codes
from ichd.report.document import ReportContext
from ichd.report.hl7_patient import Order, order_of, patient, study_moment, visit
from ichd.report.hl7_text import Field, components, header, segment, text, timestamp
from ichd.report.identity import Edition
from ichd.report.source import legible, local_time, source_of

#: Sending application, MSH-3.
APPLICATION = "ICHD"
#: MSH-10 holds no more (HL7 v2.5.1 2.14.9.10).
CONTROL_ID_LENGTH = 20
DIAGNOSTIC_SECTION = Field("CT")


@dataclass(frozen=True, kw_only=True)
class Addressee:
    """To whom a message goes."""

    #: Name of the destination in the settings.
    destination: str
    #: MSH-5 and MSH-6; empty where the receiver does not ask for them.
    application: str = ""
    facility: str = ""


@dataclass(frozen=True, kw_only=True)
class Letter:
    """What every segment of one message may need."""

    edition: Edition
    demonstration: bool
    source: Dataset
    order: Order
    created_at: datetime
    context: ReportContext
    addressee: Addressee

    @property
    def status(self) -> Field:
        """OBR-25 and OBX-11 (tables 0123 and 0085): preliminary, as nobody has verified it, or a correction.

        A revision corrects where an earlier one was sent to any destination, as its report names it as replaced there.
        """
        return Field("C" if self.context.predecessor else "P")


def control_id(edition: Edition, kind: ObjectKind, destination: str) -> str:
    """MSH-10, derived: a resend is the same message, and each destination has its own."""
    parts = (edition.study_instance_uid, edition.bundle_sha256, str(edition.revision), str(kind), destination)
    return base64.b32encode(hashlib.sha256("/".join(parts).encode()).digest()).decode("ascii")[:CONTROL_ID_LENGTH]


def letter_to(
    edition: Edition,
    sources: Sequence[Dataset],
    context: ReportContext,
    addressee: Addressee,
    *,
    demonstration: bool = False,
) -> Letter:
    """The letter of an edition.

    Raises:
        Permanent: REPORT_INVALID: no source of its study.
    """
    source = legible(source_of(sources, edition.study_instance_uid))
    return Letter(
        edition=edition,
        demonstration=demonstration,
        source=source,
        order=order_of(source),
        created_at=local_time(context.created_at, source),
        context=context,
        addressee=addressee,
    )


def letter_on(
    prediction: Prediction, sources: Sequence[Dataset], context: ReportContext, addressee: Addressee
) -> Letter:
    """The letter on a study that was read; raises like `letter_to`."""
    edition = context.edition(prediction)
    return letter_to(edition, sources, context, addressee, demonstration=prediction.model.demonstration)


def opening(letter: Letter, kind: ObjectKind, message_type: str) -> list[Field]:
    """MSH, PID, PV1."""
    return [
        header(
            {
                3: Field(APPLICATION),
                5: text(letter.addressee.application),
                6: text(letter.addressee.facility),
                7: timestamp(letter.created_at),
                9: Field(message_type),
                10: Field(control_id(letter.edition, kind, letter.addressee.destination)),
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


def request(letter: Letter, procedure: Code = codes.CT_OF_HEAD) -> Field:
    """OBR."""
    return segment(
        "OBR",
        {
            1: Field("1"),
            **letter.order.numbers,
            4: coded(procedure),
            7: study_moment(letter.source),
            18: text(letter.order.accession),
            22: timestamp(letter.created_at),
            24: DIAGNOSTIC_SECTION,
            25: letter.status,
        },
    )


def observation(
    letter: Letter,
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
        3: coded(name),
        4: sub_id,
        5: value,
        6: unit and coded(unit),
        8: flag,
        11: status or letter.status,
        14: study_moment(letter.source),
        17: coded(codes.ARTIFICIAL_INTELLIGENCE),
        19: timestamp(letter.created_at),
    }
    return {number: field for number, field in fields.items() if field}


def numbered(observations: Sequence[dict[int, Field]]) -> list[Field]:
    """OBX segments in their order."""
    return [segment("OBX", {1: Field(str(number)), **fields}) for number, fields in enumerate(observations, 1)]


def notes(comments: Sequence[str]) -> list[Field]:
    """An NTE for each sentence."""
    return [
        segment("NTE", {1: Field(str(number)), 2: Field("L"), 3: text(comment)})
        for number, comment in enumerate(comments, 1)
    ]


def coded(code: Code) -> Field:
    """Code, meaning, scheme (CWE)."""
    return components(code.value, code.meaning, code.scheme_designator)
