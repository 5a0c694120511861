"""What the audit trail speaks of (PS3.15 A.5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any

#: The actor of what this software did by itself.
OURSELVES = "ichd"


class AuditEvent(StrEnum):
    """What happened."""

    APPLICATION_STARTED = "application_started"
    APPLICATION_STOPPED = "application_stopped"
    ASSOCIATION_REFUSED = "association_refused"
    INSTANCES_STORED = "instances_stored"
    IMAGES_DROPPED = "images_dropped"
    RESULTS_SENT = "results_sent"
    SETTINGS_CHANGED = "settings_changed"
    MODEL_CHANGED = "model_changed"
    LOG_IN = "log_in"
    LOG_OUT = "log_out"
    PATIENT_SHOWN = "patient_shown"
    STUDY_RETRIED = "study_retried"
    STUDY_REPROCESSED = "study_reprocessed"
    STUDY_FORGOTTEN = "study_forgotten"


class AuditOutcome(IntEnum):
    """EventOutcomeIndicator (PS3.15 table A.5.2-1)."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One thing that happened, as the trail has it."""

    id: int
    at: datetime
    event: AuditEvent
    outcome: AuditOutcome
    #: AE title, account or program that did it.
    actor: str
    #: Where it sat on the network; empty for ourselves.
    address: str
    #: What it was done to: UIDs, counts, names of settings; never who the patient is.
    subject: Mapping[str, Any]
