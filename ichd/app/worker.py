"""The worker role: a warm model that reads, couriers that deliver, the ticks."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import structlog

from ichd.app.commission.daily import commission_by_the_clock
from ichd.app.disk import retention_policy, watermarks
from ichd.app.notify import NOBODY, Watcher
from ichd.app.policies import horizon
from ichd.app.slots import Slot, cores_here, seated
from ichd.app.storage import open_storage
from ichd.app.ticks import Rhythm, start_worker_ticks
from ichd.app.trail import RoleTrail
from ichd.app.workbench import Bench, couriers_of, open_bench, owner_name, readings_of, sweep_embeddings
from ichd.domain.ending import Ending
from ichd.pipeline.couriers import Couriers
from ichd.pipeline.self_test import SelfTest
from ichd.pipeline.ticks import Schedule
from ichd.settings import Settings
from ichd.store.bell import JobBell
from ichd.store.clock_step import repair_future
from ichd.store.eviction import evict_copies
from ichd.store.retention import Retention
from ichd.store.statistics import Statistics
from ichd.vision.engines.device import gpu_count

log = structlog.get_logger(__name__)

_SWEEP_ORPHANS_AFTER = timedelta(minutes=10)


def open_worker(settings: Settings, slot: Slot) -> Bench:
    """Ready before anything is claimed: no study should wait for what happens once.

    Raises:
        UserError: the model can't be used, or the database or the spool; the message names the mend.
        Permanent: the bundle is damaged.
        Transient: the database or the spool does not answer.
    """
    dealt = seated(settings, slot, gpus=gpu_count(), cores=cores_here())
    return open_bench(dealt, open_storage(settings), slot, written=settings)


def run_worker(bench: Bench, stop: threading.Event, watcher: Watcher = NOBODY) -> Ending:
    """Work until `stop` is set, or until this process is to be replaced; returns the exit code, which says so.

    Raises:
        WorkerHarmed: a step met a defect; the supervisor starts another worker.
    """
    settings, storage = bench.settings, bench.storage
    if not bench.delivery.routes:
        log.warning("no_destination", mend="add a [[destination]] to ichd.toml; findings stay in the database")
    bell = threading.Event()
    couriers = couriers_of(bench, stop)
    rhythm = Rhythm(
        settings=settings, storage=storage, owner=owner_name(bench.slot), clock=bench.clock, slot=bench.slot
    )
    self_test = rhythm.self_test(lambda: bench.succession.present.reader)
    worker, put_down = readings_of(bench, couriers, bell, self_test)
    ticks = _ticks(bench, rhythm, bell, self_test, stop)
    trail = RoleTrail(storage.engine, bench.written, "worker", clock=bench.clock)
    trail.started()
    couriers.start()
    job_bell = _job_bell(bench, bell, couriers)
    job_bell.start()
    first = bench.succession.present
    log.info(
        "worker_ready",
        model=first.identity.name,
        version=first.identity.version,
        weights=first.identity.weights_sha256[:12],
        engine=first.reader.engine.name,
        warm_up_s=bench.warm_up_s,
    )
    watcher.ready(f"reads with {first.identity.name} {first.identity.version}")
    watcher.watch(bench.vigil.is_well)
    try:
        worker.run(stop)
    finally:
        watcher.stopping()
        bench.vigil.dismissed = stop.is_set()
        # Also where a defect ends the readings, or this process is replaced: the couriers must not outlive them.
        stop.set()
        job_bell.stop()
        try:
            couriers.join()
        finally:
            put_down.close()
            bench.succession.close()
            trail.stopped()
            ticks.shutdown(wait=True)
            storage.engine.dispose()
    log.info("worker_stopped")
    return bench.vigil.exit_code


def _ticks(
    bench: Bench, rhythm: Rhythm, bell: threading.Event, self_test: SelfTest | None, stop: threading.Event
) -> Schedule:
    settings, storage = bench.settings, bench.storage
    outbox_kept = timedelta(days=settings.spool.outbox_days)
    return start_worker_ticks(
        rhythm,
        study_ready=bell.set,
        sweeps={
            "embeddings": partial(sweep_embeddings, bench),
            "heat_maps": bench.heat_maps.sweep,
            "outbox": lambda now: bench.outbox.sweep(
                older_than=outbox_kept, orphans_after=_SWEEP_ORPHANS_AFTER, now=now
            ),
        },
        destinations=frozenset(bench.delivery.routes),
        self_test=self_test,
        retention=_retention(bench),
        repair=lambda now: repair_future(storage.engine, horizon=horizon(settings), now=now),
        commission=lambda now: commission_by_the_clock(settings, Statistics(storage.engine), stop, now=now),
    )


def _retention(bench: Bench) -> Callable[[datetime], None]:
    """What makes room: images go for good, or, where they are in a bucket, this machine's copies."""
    settings, storage = bench.settings, bench.storage
    retention = Retention(storage.engine, storage.spool, retention_policy(settings))

    def run(now: datetime) -> None:
        retention.run(now)
        if settings.spool.is_bucket:
            evict_copies(storage.engine, storage.spool, watermarks(settings))

    return run


def _job_bell(bench: Bench, bell: threading.Event, couriers: Couriers) -> JobBell:
    """Rings whoever a job is for, and everybody where one may have been missed."""

    def ring_all() -> None:
        bell.set()
        couriers.ring()

    def ring(destination: str | None) -> None:
        if destination is None:
            bell.set()
        else:
            couriers.ring(destination)

    return JobBell(bench.storage.engine, ring=ring, ring_all=ring_all)
