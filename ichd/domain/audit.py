"""What the audit trail speaks of (PS3.15 A.5)."""

from enum import IntEnum, StrEnum


class AuditEvent(StrEnum):
    """What happened."""

    ASSOCIATION_REFUSED = "association_refused"
    INSTANCES_STORED = "instances_stored"
    RESULTS_SENT = "results_sent"
    SETTINGS_CHANGED = "settings_changed"
    LOG_IN = "log_in"


class AuditOutcome(IntEnum):
    """EventOutcomeIndicator (PS3.15 table A.5.2-1)."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12
