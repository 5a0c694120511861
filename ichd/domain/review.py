"""What a reader says of a finding: the truth that calibration and retraining need."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Agreement(StrEnum):
    """Whether a person found what the model found."""

    AGREED = "agreed"
    DISAGREED = "disagreed"


class ReviewSource(StrEnum):
    """By which way it came."""

    #: POST /api/studies/{study_uid}/review.
    API = "api"
    #: A Key Object Selection with the title Rejected for Quality Reasons (113001, DCM) that names an object of ours.
    KEY_OBJECT = "key_object"
    #: An ORU^R01 with the observation that `feedback.observation` names.
    HL7 = "hl7"


@dataclass(frozen=True, kw_only=True)
class Review:
    """One reader's word about one revision of a study. No free text: it may name the patient."""

    agreement: Agreement
    source: ReviewSource
    received_at: datetime
    #: Account, or AE title, or sending application; never who the patient is.
    reviewer: str = ""
    #: By class name, what is really there, as far as the reader says.
    truth: Mapping[str, bool] = field(default_factory=dict)
    #: The same word said twice has the same key: SOP Instance UID, message control id; empty where there is none.
    key: str = ""
