"""When is a study complete? A decision from evidence, at a moment that is given.

DICOM has no end mark for a study. First form: every association that carried a slice was released with every image
taken, and then a quiet period passed. One that broke (abort, lost connection, a listener that was killed), or in which
an image was refused, promises a resend, so it is waited for longer, whatever other associations did at the same time.
Only an association that was opened after that end, and was itself released with every image taken, is the resend that
heals it. Where an end never comes, because a sender keeps its association open for hours, a longer silence closes the
study.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Closing(StrEnum):
    """The evidence that closed a study; stored with it and shown."""

    RELEASED_AND_QUIET = "released_and_quiet"
    INTERRUPTED_AND_QUIET = "interrupted_and_quiet"
    SILENT = "silent"


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """An association that carried at least one slice of the study."""

    opened_at: datetime
    #: None while it is open.
    ended_at: datetime | None
    #: It ended by A-RELEASE, not by an abort, a lost connection or the death of the listener, and refused no image.
    clean: bool


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a study's arrival."""

    last_instance_at: datetime
    carriers: Sequence[Carrier]

    @property
    def last_end_at(self) -> datetime | None:
        """End of the last association, None while none has ended."""
        return max((c.ended_at for c in self.carriers if c.ended_at is not None), default=None)

    @property
    def interrupted(self) -> bool:
        """Whether an association ended badly without being healed by a resend; so does one that nobody knows of."""
        bad_ends = [c.ended_at for c in self.carriers if c.ended_at is not None and not c.clean]
        resent_from = max((c.opened_at for c in self.carriers if c.ended_at is not None and c.clean), default=None)
        if resent_from is None:
            return True
        return any(ended_at >= resent_from for ended_at in bad_ends)


@dataclass(frozen=True, kw_only=True)
class CompletenessPolicy:
    """How long silence must last, in seconds."""

    #: After the release of the last association.
    quiet_period_s: float = 2.0
    #: After an association that broke or refused an image.
    interrupted_period_s: float = 20.0
    #: While an association stays open.
    silent_period_s: float = 120.0


def closing(evidence: Evidence, policy: CompletenessPolicy, now: datetime) -> Closing | None:
    """The evidence that closes the study at `now`, or None while it must be waited for."""
    if any(carrier.ended_at is None for carrier in evidence.carriers):
        silence, cause, period_s = evidence.last_instance_at, Closing.SILENT, policy.silent_period_s
    else:
        silence = max(evidence.last_instance_at, evidence.last_end_at or evidence.last_instance_at)
        if evidence.interrupted:
            cause, period_s = Closing.INTERRUPTED_AND_QUIET, policy.interrupted_period_s
        else:
            cause, period_s = Closing.RELEASED_AND_QUIET, policy.quiet_period_s
    return cause if now - silence >= timedelta(seconds=period_s) else None
