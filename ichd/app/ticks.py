"""What happens by the clock in a worker of these settings."""

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from ichd.app.audit import audit_source, collector_of
from ichd.app.certificates import certificate_files, ends_of, trouble_of
from ichd.app.clock import Clock
from ichd.app.policies import tick_policy
from ichd.app.slots import Slot
from ichd.app.storage import Storage
from ichd.domain.reason import Reason
from ichd.pipeline.self_test import SelfTest
from ichd.pipeline.ship import AuditShipper
from ichd.pipeline.stored_phantom import StoredPhantom
from ichd.pipeline.ticks import Schedule, start_ticks, untroubled, usual_ticks
from ichd.pipeline.turns import Tick, Turn
from ichd.settings import Settings
from ichd.store.audit import Audit
from ichd.store.baselines import Baselines
from ichd.store.census import peaks_of, take_census
from ichd.store.statistics import Statistics, hour_of
from ichd.store.ticks import Ticks, Trouble
from ichd.vision.bundle import Bundle
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.reader import Reader

DISK_EVERY = timedelta(minutes=1)
QUEUE_EVERY = timedelta(minutes=1)
CERTIFICATES_EVERY = timedelta(minutes=10)
#: They are counted for each hour; asked more often, they are there soon after it.
STATISTICS_EVERY = timedelta(minutes=10)
FORGET_EVERY = timedelta(days=1)
STATISTICS_KEPT = timedelta(days=731)
RETENTION_EVERY = timedelta(minutes=1)
#: A worker that has just started has studies to catch up with.
SELF_TEST_FIRST_AFTER = timedelta(minutes=1)
#: One that was just renewed is being looked at by a person.
COMMISSION_FIRST_AFTER = timedelta(minutes=5)
#: Each try leaves a study in somebody's archive.
COMMISSION_AGAIN_AFTER = timedelta(hours=2)
REPAIR_EVERY = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """The clockwork of one worker before it is started."""

    settings: Settings
    storage: Storage
    #: Unique for each start of a worker.
    owner: str
    #: The one that times in the database go by.
    clock: Clock
    slot: Slot
    machine: str = socket.gethostname()

    @property
    def ticks(self) -> Ticks:
        """The leases, in our name."""
        return Ticks(self.storage.engine, owner=self.owner)

    @property
    def seat(self) -> str:
        """Of this worker among those of its machine."""
        return self.machine if self.slot.of == 1 else f"{self.machine}/{self.slot.name}"

    def turn(self, tick: Tick) -> Turn:
        """Our turns at one tick of the cluster or of our machine."""
        return Turn(tick, self.ticks, self.clock, place=self.machine)

    def self_test(self, reader: Callable[[], Reader]) -> SelfTest | None:
        """That of the live `reader`; None where it is switched off."""
        every_h = self.settings.tick.self_test_h
        if every_h is None:
            return None
        statistics = Statistics(self.storage.engine)

        def note_drift(drift: float) -> None:
            statistics.record({f"self_test_drift/{self.seat}": drift}, at=self.clock())

        # What it runs is done by the worker, between jobs; the turn says when. Each worker has its own: the model is in
        # the memory of its process, and on its GPU, and a bit that flips there harms no neighbour.
        tick = Tick(
            name="self_test",
            every=timedelta(hours=every_h),
            run=lambda: None,
            of_place=True,
            first_after=SELF_TEST_FIRST_AFTER,
        )
        return SelfTest(
            Turn(tick, self.ticks, self.clock, place=self.seat),
            StoredPhantom(Path(self.settings.model.cache) / "self-test"),
            Baselines(self.storage.engine),
            reader=reader,
            reference=_in_fp32,
            tolerance=self.settings.tick.self_test_tolerance,
            note_drift=note_drift,
            clock=self.clock,
        )


def start_worker_ticks(
    rhythm: Rhythm,
    *,
    study_ready: Callable[[], None],
    sweeps: Mapping[str, Callable[[datetime], int]],
    destinations: frozenset[str],
    self_test: SelfTest | None = None,
    retention: Callable[[datetime], object] | None = None,
    repair: Callable[[datetime], object] | None = None,
    commission: Callable[[datetime], Trouble | None] | None = None,
) -> Schedule:
    """Start all of it; the caller shuts it down.

    `sweeps` as in `usual_ticks`. `retention` drops images, `repair` mends times that lie in the future.
    `commission` takes a phantom along the live route.
    """
    settings, storage, clock = rhythm.settings, rhythm.storage, rhythm.clock
    collector = collector_of(settings)
    ship_audit = None
    if collector is not None:
        ship_audit = AuditShipper(Audit(storage.engine), collector, audit_source(settings), clock).ship
    ticks = [
        *usual_ticks(
            storage.studies,
            tick_policy(settings),
            clock,
            study_ready=study_ready,
            sweeps=sweeps,
            destinations=destinations,
            ship_audit=ship_audit,
        ),
        *_watches(rhythm),
    ]
    if retention is not None:
        run = untroubled(lambda: retention(clock()))
        ticks.append(Tick(name="retention", every=RETENTION_EVERY, run=run, of_place=True))
    if repair is not None:
        ticks.append(Tick(name="repair_future", every=REPAIR_EVERY, run=untroubled(lambda: repair(clock()))))
    if commission is not None and settings.tick.commission_h is not None:
        ticks.append(
            Tick(
                name="commission",
                every=timedelta(hours=settings.tick.commission_h),
                run=lambda: commission(clock()),
                first_after=COMMISSION_FIRST_AFTER,
                again_after=COMMISSION_AGAIN_AFTER,
            )
        )
    beside = [] if self_test is None else [self_test]
    return start_ticks([rhythm.turn(tick) for tick in ticks], rhythm.ticks, clock, beside=beside)


def _watches(rhythm: Rhythm) -> Iterator[Tick]:
    """What is looked at and counted."""
    statistics = Statistics(rhythm.storage.engine)
    ticks, clock = rhythm.ticks, rhythm.clock

    def forget_statistics() -> None:
        ticks.forget(now=clock())
        statistics.forget(before=clock() - STATISTICS_KEPT)

    yield Tick(name="disk", every=DISK_EVERY, run=partial(_disk, rhythm, statistics), of_place=True)
    yield Tick(name="queue", every=QUEUE_EVERY, run=untroubled(partial(_queue, rhythm, statistics)))
    yield Tick(
        name="certificates", every=CERTIFICATES_EVERY, run=partial(_certificates, rhythm, statistics), of_place=True
    )
    yield Tick(name="statistics", every=STATISTICS_EVERY, run=untroubled(lambda: statistics.count_hours(now=clock())))
    yield Tick(name="forget_statistics", every=FORGET_EVERY, run=untroubled(forget_statistics))


def _disk(rhythm: Rhythm, statistics: Statistics) -> Trouble | None:
    """One figure an hour is kept: that of its last minute."""
    now, spool = rhythm.clock(), rhythm.settings.spool
    used = 1 - rhythm.storage.spool.free_fraction()
    statistics.record({f"disk_used/{rhythm.machine}": used}, at=hour_of(now))
    if used < spool.high_watermark:
        return None
    detail = f"{used:.0%} of the disk is used on {rhythm.machine}, images are refused from {spool.high_watermark:.0%}"
    return Trouble(reason=Reason.DISK_LOW, detail=detail)


def _queue(rhythm: Rhythm, statistics: Statistics) -> None:
    """The longest that it was within the hour: nobody asks how long it was on average."""
    now = rhythm.clock()
    statistics.record_peaks(peaks_of(take_census(rhythm.storage.engine), now), at=hour_of(now))


def _certificates(rhythm: Rhythm, statistics: Statistics) -> Trouble | None:
    ends, faults = ends_of(certificate_files(rhythm.settings))
    now = rhythm.clock()
    figures = {f"certificate_end/{rhythm.machine}/{name}": end.timestamp() for name, end in ends.items()}
    statistics.record_latest(figures, at=now)
    return trouble_of(ends, faults, within=timedelta(days=rhythm.settings.tick.certificate_days), now=now)


def _in_fp32(bundle: Bundle) -> Reader:
    """On the processor, also where the live engine has a GPU: what is wrong with one is not wrong with both."""
    return Reader(EagerEngine(bundle, device="cpu"))
