"""When is a study complete? A decision from evidence, at a moment that is given.

DICOM has no end mark for a study. First form: every association that carried a slice was released, and then a quiet
period passed. An association that broke (abort, lost connection, a listener that was killed) promises a resend, so it
is waited for longer. Where an end never comes, because a sender keeps its association open for hours, a longer silence
closes the study.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Closing(StrEnum):
    """The evidence that closed a study; stored with it and shown."""

    RELEASED_AND_QUIET = "released_and_quiet"
    INTERRUPTED_AND_QUIET = "interrupted_and_quiet"
    SILENT = "silent"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a study's arrival."""

    last_instance_at: datetime
    #: Associations that carried a slice of this study and are still open.
    open_associations: int
    #: End of the last association that carried a slice, None while none has ended.
    last_end_at: datetime | None
    #: That end was an A-RELEASE, not an abort, a lost connection or the death of the listener.
    last_end_released: bool


@dataclass(frozen=True, kw_only=True)
class CompletenessPolicy:
    """How long silence must last, in seconds."""

    #: After the release of the last association.
    quiet_period_s: float = 2.0
    #: After an association that broke.
    interrupted_period_s: float = 20.0
    #: While an association stays open.
    silent_period_s: float = 120.0


def closing(evidence: Evidence, policy: CompletenessPolicy, now: datetime) -> Closing | None:
    """The evidence that closes the study at `now`, or None while it must be waited for."""
    if evidence.open_associations:
        silence, cause, period_s = evidence.last_instance_at, Closing.SILENT, policy.silent_period_s
    else:
        silence = max(evidence.last_instance_at, evidence.last_end_at or evidence.last_instance_at)
        if evidence.last_end_released:
            cause, period_s = Closing.RELEASED_AND_QUIET, policy.quiet_period_s
        else:
            cause, period_s = Closing.INTERRUPTED_AND_QUIET, policy.interrupted_period_s
    return cause if now - silence >= timedelta(seconds=period_s) else None
