"""What is said at the counter: who stands there, what they claim to bring, and what they are told."""

from dataclasses import dataclass

from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.domain.study import CT_IMAGE_STORAGE, MULTI_FRAME_CT, InstanceFacts
from ichd.intake.header import syntax_of
from ichd.intake.values import is_uid
from ichd.store.arrivals import ArrivalKind

ACCEPTED_SOP_CLASSES = (CT_IMAGE_STORAGE, *MULTI_FRAME_CT)

#: Defined terms of Modality, and those that were ones (PS3.3 C.7.3.1.1.1).
_MODALITY_TERMS = """
    ANN AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT
    IVUS KER KO LEN LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG
    RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA
    VL XA XAPROTOCOL XC
    AS CD CF CP CS DD DF DM DS EC FA FS HP LP MA MS OPR PD ST TH VF
"""
_MODALITIES = frozenset(_MODALITY_TERMS.split())


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who stands at the door; both are claims until TLS proves one."""

    calling_ae_title: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a sender says of a data set before its bytes come."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    #: None where the door does not ask for one; a STOW-RS request may be for one study only.
    study_instance_uid: str | None = None


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The yes, and what it was said to."""

    kind: ArrivalKind
    facts: InstanceFacts


def require_plausible(claim: Claim) -> None:
    """Whether there is any point in reading the data set.

    Raises:
        Refused: BAD_UID or UNSUPPORTED_TRANSFER_SYNTAX.
    """
    for name, uid in (("SOP Class UID", claim.sop_class_uid), ("SOP Instance UID", claim.sop_instance_uid)):
        if not is_uid(uid):
            raise Refused(Reason.BAD_UID, f"{name} of the request is {'not a UID' if uid else 'missing'}")
    syntax_of(claim.transfer_syntax_uid)


def require_acceptable(facts: InstanceFacts, claim: Claim) -> None:
    """The request and the data set must speak of the same CT image (PS3.7 9.1.1.1, PS3.18 10.5.1).

    Raises:
        Refused: UID_MISMATCH or WRONG_MODALITY.
    """
    if facts.sop_instance_uid != claim.sop_instance_uid:
        raise Refused(Reason.UID_MISMATCH, "SOP Instance UID")
    if facts.sop_class_uid != claim.sop_class_uid:
        raise Refused(Reason.UID_MISMATCH, "SOP Class UID")
    if claim.study_instance_uid not in (None, facts.study_instance_uid):
        raise Refused(Reason.UID_MISMATCH, "Study Instance UID")
    if facts.sop_class_uid not in ACCEPTED_SOP_CLASSES:
        raise Refused(Reason.WRONG_MODALITY, f"SOP class {facts.sop_class_uid}")
    if facts.modality != "CT":
        raise Refused(Reason.WRONG_MODALITY, f"Modality {_known(facts.modality)}")


def _known(modality: str) -> str:
    """A value of Modality for the sender and the log: one that is no defined term may be anything, a name as well."""
    if not modality:
        return "none"
    return modality if modality in _MODALITIES else "another"
