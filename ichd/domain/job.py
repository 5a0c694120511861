"""Jobs: what the queue holds, the states of a job, which one goes first, and how long a retry waits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ichd.domain.errors import IllegalTransition
from ichd.domain.finding import Triage


class JobKind(StrEnum):
    """The two kinds of work: read a study, and deliver its report to one destination."""

    ANALYSE = "analyse"
    PUBLISH = "publish"


class JobState(StrEnum):
    """Where a job stands; dead waits for a person, done for nobody."""

    QUEUED = "queued"
    LEASED = "leased"
    DONE = "done"
    DEAD = "dead"


JOB_TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.LEASED, JobState.DONE, JobState.DEAD}),
    JobState.LEASED: frozenset({JobState.DONE, JobState.QUEUED, JobState.DEAD}),
    JobState.DONE: frozenset(),
    JobState.DEAD: frozenset({JobState.QUEUED}),
}


def move_job(current: JobState, target: JobState) -> JobState:
    """`target`, if the table connects the two states.

    A queued job may become done without ever being leased when a newer revision of its study supersedes it, and dead
    when its destination is no longer in the settings.

    Raises:
        IllegalTransition: it does not.
    """
    if target not in JOB_TRANSITIONS[current]:
        raise IllegalTransition(f"a job can't go from {current} to {target}")
    return target


#: A job counts as having come so much earlier than it did. An urgent one overtakes what came up to four hours before
#: it, and no more: a routine one that has waited longer goes first, so that none waits for ever.
HEAD_START: Mapping[Triage | None, timedelta] = {
    Triage.URGENT: timedelta(hours=4),
    Triage.INDETERMINATE: timedelta(hours=1),
    Triage.ROUTINE: timedelta(),
    None: timedelta(),
}


def order_of(due: datetime, triage: Triage | None) -> datetime:
    """By which jobs are taken, the earliest first; `triage` is that of the newest finding, None where there is none."""
    return due - HEAD_START[triage]


#: After how many deaths of its workers in a row a job is dead itself. A reading that kills is poison, and each further
#: attempt costs all that its next worker has in hand. A delivery dies with its process mostly because a reading beside
#: it killed that: it is innocent until it died far more often than the reading is allowed to.
DEATHS_ALLOWED: Mapping[JobKind, int] = {JobKind.ANALYSE: 2, JobKind.PUBLISH: 5}


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with a ceiling and jitter, and an end: by attempts, by age, or by whichever comes first."""

    first_s: float = 2.0
    factor: float = 2.0
    ceiling_s: float = 300.0
    max_attempts: int = 100
    #: Since the work was owed; for ever where it is None.
    give_up_after: timedelta | None = None


def retry_delay(
    policy: RetryPolicy, attempt: int, jitter: float, *, owed_for: timedelta = timedelta()
) -> timedelta | None:
    """How long to wait after failed attempt number `attempt` (counted from 1); None after the last one.

    `jitter` in [0, 1) comes from the caller's random source and takes up to a quarter off the delay, so that jobs
    that failed together do not return together.
    """
    if attempt >= policy.max_attempts or (policy.give_up_after is not None and owed_for >= policy.give_up_after):
        return None
    # The exponent is capped first: 2.0 ** 5000 overflows, and the ceiling is reached long before.
    grown = policy.first_s * policy.factor ** min(attempt - 1, 60)
    return timedelta(seconds=min(grown, policy.ceiling_s) * (1 - 0.25 * jitter))
