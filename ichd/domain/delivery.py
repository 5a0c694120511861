"""What is sent about a study, which form of it a destination can take, and what came of it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason


class ObjectKind(StrEnum):
    """What may be sent about one revision of a study; stable codes, kept in the database."""

    #: Structured Reports: the same tree as Comprehensive 3D SR, Comprehensive SR and Enhanced SR.
    SR = "sr"
    SR_COMPREHENSIVE = "sr_comprehensive"
    SR_ENHANCED = "sr_enhanced"
    #: Key Object Selection of the top slices.
    KO = "ko"
    #: One page as a Secondary Capture.
    SC = "sc"
    #: Heat maps, as Secondary Captures or as a Parametric Map.
    HEAT = "heat"
    PARAMETRIC = "parametric"
    #: Grayscale Softcopy Presentation State of the key slices.
    GSPS = "gsps"
    #: HL7 v2: the result (ORU^R01), and a request to read an urgent study first (ORM^O01).
    RESULT = "result"
    PRIORITY = "priority"
    #: JSON for a webhook, without and with identifiers of the patient.
    JSON = "json"
    JSON_IDENTIFIED = "json_identified"


#: SOP Class UID of each kind that is a DICOM object (PS3.4 table B.5-1).
SOP_CLASSES = {
    ObjectKind.SR: "1.2.840.10008.5.1.4.1.1.88.34",
    ObjectKind.SR_COMPREHENSIVE: "1.2.840.10008.5.1.4.1.1.88.33",
    ObjectKind.SR_ENHANCED: "1.2.840.10008.5.1.4.1.1.88.22",
    ObjectKind.KO: "1.2.840.10008.5.1.4.1.1.88.59",
    ObjectKind.SC: "1.2.840.10008.5.1.4.1.1.7",
    ObjectKind.HEAT: "1.2.840.10008.5.1.4.1.1.7",
    ObjectKind.PARAMETRIC: "1.2.840.10008.5.1.4.1.1.30",
    ObjectKind.GSPS: "1.2.840.10008.5.1.4.1.1.11.1",
}

#: The capability ladder: the richest form of the report that a peer accepts. The last rung is a picture of it.
LADDER = (ObjectKind.SR, ObjectKind.SR_COMPREHENSIVE, ObjectKind.SR_ENHANCED, ObjectKind.SC)


class Proof(StrEnum):
    """How sure we are that a destination holds what we sent; each includes the one before."""

    #: It acknowledged every object.
    SENT = "sent"
    #: A query found every object.
    READ_BACK = "read_back"
    #: It took responsibility for every object (storage commitment, PS3.4 annex J).
    COMMITTED = "committed"


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """An object or message, as it was just made."""

    #: Empty for a message.
    sop_class_uid: str
    #: Of a message, what makes the receiver know it again: MSH-10, or the delivery's id.
    sop_instance_uid: str
    #: A whole DICOM file (PS3.10), or a message.
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """An object or message as it lies in the outbox, to be sent byte for byte."""

    kind: ObjectKind
    #: Empty for a message.
    sop_class_uid: str
    #: Of a message, what makes the receiver know it again: MSH-10, or the delivery's id.
    sop_instance_uid: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What one destination is to get about one revision of a study."""

    study_instance_uid: str
    #: What the settings ask for.
    wanted: tuple[ObjectKind, ...]
    #: Gives the objects of some kinds, in that order; makes those that were never needed before. A kind of which there
    #: is nothing, as heat maps of a healthy head, gives none.
    fetch: Callable[[Sequence[ObjectKind]], Sequence[Outgoing]]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a destination gets of what it was to get."""

    kinds: tuple[ObjectKind, ...]
    #: What it does not take, and nothing stands for.
    left_out: tuple[ObjectKind, ...]


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Proof that one destination took the objects of one report."""

    destination: str
    sent_at: datetime
    #: SOP Instance UIDs that the destination acknowledged, the report's first.
    sop_instance_uids: tuple[str, ...]
    #: SOP Class UID of the report as sent: which rung of the capability ladder the peer took. Empty for a message.
    sop_class_uid: str
    #: DIMSE status, e.g. "0x0000"; HTTP status; HL7 acknowledgment code.
    status: str
    #: What the destination was to get and does not take.
    left_out: tuple[ObjectKind, ...] = ()
    proof: Proof = Proof.SENT
    #: Of a proof that came later than the answer.
    proved_at: datetime | None = None
    #: Who the destination was then, for the audit trail; kept nowhere else.
    ae_title: str = ""
    address: str = ""


def proposed(wanted: Collection[ObjectKind]) -> tuple[str, ...]:
    """SOP Class UIDs to ask a destination about: all that is wanted, and every rung that may stand for a report."""
    kinds = [*wanted, *(LADDER if ObjectKind.SR in wanted else ())]
    return tuple(dict.fromkeys(SOP_CLASSES[kind] for kind in kinds))


def choose(wanted: Sequence[ObjectKind], accepted: Collection[str]) -> Choice:
    """What to send to a destination that takes the SOP classes `accepted`; the first kind states the result.

    Raises:
        Permanent: NO_ACCEPTED_CONTEXT, it takes nothing that says what was found.
    """
    kinds: list[ObjectKind] = []
    left_out: list[ObjectKind] = []
    for kind in wanted:
        rungs = LADDER if kind is ObjectKind.SR else (kind,)
        taken = next((rung for rung in rungs if SOP_CLASSES[rung] in accepted), None)
        if taken is None:
            left_out.append(kind)
        elif taken not in kinds:
            kinds.append(taken)
    report = next((rung for rung in LADDER if rung in kinds), None)
    if not kinds or (report is None and set(LADDER).intersection(wanted)):
        raise Permanent(Reason.NO_ACCEPTED_CONTEXT, ", ".join(wanted))
    return Choice(kinds=tuple(sorted(kinds, key=lambda kind: kind is not report)), left_out=tuple(left_out))
