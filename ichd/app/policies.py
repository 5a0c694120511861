"""From settings to the policies of the pipeline."""

from datetime import timedelta

from ichd.domain.clock_step import Horizon
from ichd.domain.completeness import CompletenessPolicy
from ichd.domain.job import DEATHS_ALLOWED, JobKind, RetryPolicy
from ichd.domain.refusal import SelectionPolicy
from ichd.pipeline.proof import ASK_AGAIN_AFTER
from ichd.pipeline.reading import ReadingPolicy
from ichd.pipeline.ticks import TickPolicy
from ichd.pipeline.worker import WorkerPolicy
from ichd.settings import Settings
from ichd.store.destinations import LONGEST_PAUSE


def reading_policy(settings: Settings) -> ReadingPolicy:
    """Which series may be read."""
    study = settings.study
    return ReadingPolicy(
        selection=SelectionPolicy(
            min_positions=study.min_slices, min_coverage_mm=study.min_coverage_mm, max_slices=study.max_slices
        ),
        require_head=study.require_head,
    )


def retry_policy(settings: Settings) -> RetryPolicy:
    """How failed jobs come back."""
    worker = settings.worker
    return RetryPolicy(first_s=worker.retry_first_s, ceiling_s=worker.retry_ceiling_s, max_attempts=worker.max_attempts)


def worker_policy(settings: Settings) -> WorkerPolicy:
    """Rhythm of the worker."""
    worker = settings.worker
    return WorkerPolicy(
        poll_s=worker.poll_s,
        lease_s=worker.lease_s,
        grace_s=worker.grace_s,
        retry=retry_policy(settings),
        time_limit_s=worker.time_limit_s,
        deaths_allowed=deaths_allowed(settings),
    )


def deaths_allowed(settings: Settings) -> dict[JobKind, int]:
    """After how many deaths of its workers in a row a job is dead."""
    return {**DEATHS_ALLOWED, JobKind.ANALYSE: settings.worker.deaths_allowed}


def tick_policy(settings: Settings) -> TickPolicy:
    """What the ticks decide by."""
    study = settings.study
    return TickPolicy(
        completeness=CompletenessPolicy(
            quiet_period_s=study.quiet_period_s,
            interrupted_period_s=study.interrupted_period_s,
            silent_period_s=study.silent_period_s,
        ),
        retry=retry_policy(settings),
        lease_s=settings.worker.lease_s,
        deaths_allowed=deaths_allowed(settings),
    )


def horizon(settings: Settings) -> Horizon:
    """How far ahead of now a right clock writes: the longest wait of all is between two requests for a promise."""
    worker = settings.worker
    return Horizon(
        lease=timedelta(seconds=worker.lease_s),
        wait=max(timedelta(seconds=worker.retry_ceiling_s), ASK_AGAIN_AFTER),
        pause=LONGEST_PAUSE,
    )
