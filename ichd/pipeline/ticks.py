"""What happens by the clock: quiet studies are closed, leases of dead workers reaped, partial files swept.

Every tick is one idempotent transaction, so any number of workers may run them side by side.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from ichd.domain.completeness import CompletenessPolicy
from ichd.domain.errors import Transient
from ichd.domain.job import DEATHS_ALLOWED, JobKind, RetryPolicy
from ichd.pipeline.clock import Clock
from ichd.store.studies import Studies

log = structlog.get_logger(__name__)

#: The quiet period counts in seconds; a study should not wait much longer for the tick that notices it.
CLOSE_EVERY_S = 0.1
SWEEP_EVERY_S = 3600.0
STRAND_EVERY_S = 30.0
SHIP_AUDIT_EVERY_S = 2.0
#: A file without a row that is older than any transaction that could still give it one: a writer waits for its turn
#: and then for the database, 15 s each.
ORPHAN_AFTER = timedelta(seconds=90)
#: Announcements of studies that never came, commitments that were reported, and refusals.
FORGET_AFTER = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class TickPolicy:
    """What the ticks decide by."""

    completeness: CompletenessPolicy
    retry: RetryPolicy
    lease_s: float
    deaths_allowed: dict[JobKind, int] = field(default_factory=lambda: dict(DEATHS_ALLOWED))


def start_ticks(
    studies: Studies,
    policy: TickPolicy,
    clock: Clock,
    *,
    study_ready: Callable[[], None],
    sweeps: Mapping[str, Callable[[datetime], int]],
    destinations: frozenset[str],
    ship_audit: Callable[[], None] | None = None,
) -> BackgroundScheduler:
    """Start the ticks of one worker, each in a thread of its own; the caller shuts the scheduler down.

    `study_ready` is called once a study has its job. `sweeps` remove what has outlived its images, by the name that the
    log gives it, and return how many files. A delivery to none of `destinations` is dead, since no lane would take it.
    """

    def close_quiet_studies() -> None:
        for study_uid in studies.close_complete(policy.completeness, now=clock()):
            log.info("study_ready", study=study_uid)
            study_ready()

    def reap_leases() -> None:
        reaped = studies.reap(now=clock(), retry=policy.retry, deaths_allowed=policy.deaths_allowed)
        if reaped:
            log.warning("leases_reaped", jobs=reaped)

    def strand() -> None:
        stranded = studies.strand(destinations, now=clock())
        if stranded:
            log.error("deliveries_to_unknown_destinations", jobs=stranded)

    def sweep_spool() -> None:
        swept = studies.sweep_spool(older_than=ORPHAN_AFTER, now=clock())
        if swept:
            log.warning("orphans_swept", files=swept)

    def sweep_outlived(what: str) -> None:
        outlived = sweeps[what](clock())
        if outlived:
            log.info("outlived_swept", what=what, files=outlived)

    def forget_old() -> None:
        forgotten = studies.forget_old(before=clock() - FORGET_AFTER)
        if forgotten:
            log.info("old_words_forgotten", rows=forgotten)

    # Only a death leaves orphans, so the sweep that matters is the one soon after a start.
    first_sweep = clock() + ORPHAN_AFTER + timedelta(seconds=5)
    scheduler = BackgroundScheduler(timezone="UTC")
    ticks: list[tuple[str, Callable[[], None], float, datetime]] = [
        ("close_quiet_studies", close_quiet_studies, CLOSE_EVERY_S, clock()),
        ("reap_leases", reap_leases, max(policy.lease_s / 3, 1.0), clock()),
        ("strand", strand, STRAND_EVERY_S, clock()),
        ("sweep_spool", sweep_spool, SWEEP_EVERY_S, first_sweep),
        # Each on its own: what one of them trips over must not keep the others from tidying up.
        *((f"sweep_{what}", partial(sweep_outlived, what), SWEEP_EVERY_S, first_sweep) for what in sweeps),
        ("forget_old", forget_old, SWEEP_EVERY_S, first_sweep),
    ]
    if ship_audit is not None:
        ticks.append(("ship", ship_audit, SHIP_AUDIT_EVERY_S, clock()))
    for name, tick, every_s, first_at in ticks:
        scheduler.add_job(
            _guarded(name, tick),
            "interval",
            seconds=every_s,
            next_run_time=first_at,
            coalesce=True,
            max_instances=1,
            # The default forgets a run that is a second late, and a loaded machine is: late is better than not at all.
            misfire_grace_time=None,
        )
    scheduler.start()
    return scheduler


def _guarded(name: str, tick: Callable[[], None]) -> Callable[[], None]:
    postponed = False

    def run() -> None:
        nonlocal postponed
        try:
            tick()
        except Transient as error:
            # Once, not ten times a second for as long as the database is away.
            if not postponed:
                log.warning("tick_postponed", tick=name, reason=error.reason, detail=error.detail)
            postponed = True
        else:
            postponed = False

    return run
