"""What happens by the clock: quiet studies are closed, leases of dead workers reaped, partial files swept.

Every worker looks at the clock, and takes turns with the others (`ichd.pipeline.turns`). Each tick is idempotent all
the same: where the database was away for longer than a lease, two may do it at once, and nothing comes of it.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from ichd.domain.completeness import CompletenessPolicy
from ichd.domain.errors import Transient
from ichd.domain.job import DEATHS_ALLOWED, JobKind, RetryPolicy
from ichd.pipeline.clock import Clock, utc_now
from ichd.pipeline.self_test import SelfTest
from ichd.pipeline.turns import Tick, Turn
from ichd.store.studies import Studies
from ichd.store.ticks import Ticks

log = structlog.get_logger(__name__)

#: The quiet period counts in seconds; a study should not wait much longer for the tick that notices it.
CLOSE_EVERY = timedelta(seconds=0.1)
SWEEP_EVERY = timedelta(hours=1)
STRAND_EVERY = timedelta(seconds=30)
SHIP_AUDIT_EVERY = timedelta(seconds=2)
_GLANCE_EVERY = timedelta(seconds=1)
#: A clock that is kept right moves by less between two glances.
_A_STEP_S = 0.5
#: A file without a row that is older than any transaction that could still give it one: a writer waits for its turn
#: and then for the database, 15 s each.
ORPHAN_AFTER = timedelta(seconds=90)
_FIRST_SWEEP_AFTER = ORPHAN_AFTER + timedelta(seconds=5)
#: Announcements of studies that never came, commitments that were reported, and refusals.
FORGET_AFTER = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class TickPolicy:
    """What the ticks decide by."""

    completeness: CompletenessPolicy
    retry: RetryPolicy
    #: Of jobs.
    lease_s: float
    deaths_allowed: dict[JobKind, int] = field(default_factory=lambda: dict(DEATHS_ALLOWED))


class Schedule:
    """The ticks of one worker at work."""

    def __init__(self, scheduler: BackgroundScheduler, ticks: Ticks, clock: Clock, places: Collection[str]) -> None:
        self._scheduler = scheduler
        self._over = threading.Event()
        self._guard = threading.Thread(target=self._mind_the_clock, name="clock", daemon=True)
        self._guard.start()
        self._ticks = ticks
        self._clock = clock
        self._places = places

    def shutdown(self, *, wait: bool = True) -> None:
        """Begin no more of them, and give up what is held, so that another worker goes on at once."""
        self._over.set()
        self._guard.join()
        self._scheduler.shutdown(wait=wait)
        try:
            self._ticks.give_up(*self._places, now=self._clock())
        except Transient as error:
            log.warning("ticks_not_given_up", reason=error.reason, detail=error.detail)

    def _mind_the_clock(self) -> None:
        """Have every tick looked at anew when this machine's clock was set.

        The scheduler knows when a tick is next by the wall clock: set back by an hour, it would wait for that hour.
        """
        ahead_s = time.time() - time.monotonic()
        while not self._over.wait(_GLANCE_EVERY.total_seconds()):
            now_ahead_s = time.time() - time.monotonic()
            if abs(now_ahead_s - ahead_s) > _A_STEP_S:
                log.warning("clock_was_set", seconds=round(now_ahead_s - ahead_s, 1))
                for job in self._scheduler.get_jobs():
                    job.modify(next_run_time=datetime.now(UTC))
            ahead_s = now_ahead_s


def start_ticks(turns: Sequence[Turn], ticks: Ticks, clock: Clock, *, beside: Sequence[SelfTest] = ()) -> Schedule:
    """Start to take turns, each in a thread of its own; the caller shuts the schedule down.

    `beside` are tests that the worker does between its jobs; their turn is kept here, and they are helped out where it
    has no time for them.
    """
    scheduler = BackgroundScheduler(timezone="UTC", executors={"default": {"type": "threadpool", "max_workers": 20}})
    for turn in turns:
        # Mostly a glance at the time: whose turn it is, the database is asked when that may have changed.
        _add(scheduler, turn.take, min(turn.tick.every, _GLANCE_EVERY))
    taken = [*turns, *(test.turn for test in beside)]
    _add(scheduler, partial(_renew, taken), _GLANCE_EVERY)
    for test in beside:
        _add(scheduler, test.catch_up, _GLANCE_EVERY)
    scheduler.start()
    return Schedule(scheduler, ticks, clock, {turn.place for turn in taken})


def usual_ticks(
    studies: Studies,
    policy: TickPolicy,
    clock: Clock,
    *,
    study_ready: Callable[[], None],
    sweeps: Mapping[str, Callable[[datetime], int]],
    destinations: frozenset[str],
    ship_audit: Callable[[], None] | None = None,
) -> Iterator[Tick]:
    """What keeps studies, jobs and the spool in order.

    `study_ready` is called once a study has its job. `sweeps` remove what has outlived its images on this machine, by
    the name that the log gives it, and return how many files. A delivery to none of `destinations` is dead, since no
    lane would take it.
    """

    def close_quiet_studies() -> None:
        # Two at once are right: whoever closes a study locks it, and looks at its state again.
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
        # Files have the times of this machine, whatever clock the database goes by.
        swept = studies.sweep_spool(older_than=ORPHAN_AFTER, now=utc_now())
        if swept:
            log.warning("orphans_swept", files=swept)

    def sweep_outlived(what: str) -> None:
        outlived = sweeps[what](utc_now())
        if outlived:
            log.info("outlived_swept", what=what, files=outlived)

    def forget_old() -> None:
        forgotten = studies.forget_old(before=clock() - FORGET_AFTER)
        if forgotten:
            log.info("old_words_forgotten", rows=forgotten)

    yield Tick(name="close_quiet_studies", every=CLOSE_EVERY, run=untroubled(close_quiet_studies))
    yield Tick(name="reap_leases", every=timedelta(seconds=max(policy.lease_s / 3, 1.0)), run=untroubled(reap_leases))
    yield Tick(name="strand", every=STRAND_EVERY, run=untroubled(strand))
    # Only a death leaves orphans, so the sweep that matters is the one soon after a start.
    yield _sweep("sweep_spool", sweep_spool)
    # Each on its own: what one of them trips over must not keep the others from tidying up.
    for what in sweeps:
        yield _sweep(f"sweep_{what}", partial(sweep_outlived, what))
    yield Tick(name="forget_old", every=SWEEP_EVERY, run=untroubled(forget_old), first_after=_FIRST_SWEEP_AFTER)
    if ship_audit is not None:
        yield Tick(name="ship_audit", every=SHIP_AUDIT_EVERY, run=untroubled(ship_audit))


def untroubled(run: Callable[[], object]) -> Callable[[], None]:
    """A tick that finds nothing wrong, or raises."""

    def do() -> None:
        run()

    return do


def _sweep(name: str, run: Callable[[], None]) -> Tick:
    return Tick(name=name, every=SWEEP_EVERY, run=untroubled(run), of_place=True, first_after=_FIRST_SWEEP_AFTER)


def _add(scheduler: BackgroundScheduler, run: Callable[[], None], every: timedelta) -> None:
    scheduler.add_job(
        run,
        "interval",
        seconds=every.total_seconds(),
        next_run_time=datetime.now(UTC),
        coalesce=True,
        max_instances=1,
        # The default forgets a run that is a second late, and a loaded machine is: late is better than not at all.
        misfire_grace_time=None,
    )


def _renew(turns: Sequence[Turn]) -> None:
    for turn in turns:
        turn.renew()
