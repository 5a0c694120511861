"""The worker role: a warm model that reads, couriers that deliver, the ticks."""

import os
import secrets
import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from time import perf_counter

import structlog

from ichd.app.audit import RoleTrail
from ichd.app.clock import utc_now
from ichd.app.destinations import delivery_policy, patience_with, wants_pictures
from ichd.app.policies import reading_policy, worker_policy
from ichd.app.serving import Equipment, Serving, start_succession
from ichd.app.storage import Storage, open_storage
from ichd.app.ticks import Rhythm, start_worker_ticks
from ichd.domain.job import JobKind
from ichd.pipeline.analyse import analyse
from ichd.pipeline.couriers import Couriers
from ichd.pipeline.deliver import Courier, DeliveryPolicy
from ichd.pipeline.explainers import Explainers
from ichd.pipeline.heat import LastSeen
from ichd.pipeline.idle import IdleWork, Piece
from ichd.pipeline.maps import Maps
from ichd.pipeline.rendering import Renderer
from ichd.pipeline.self_test import SelfTest
from ichd.pipeline.succession import Succession
from ichd.pipeline.worker import Worker
from ichd.settings import Settings
from ichd.store.deliveries import Deliveries
from ichd.store.heatmaps import HeatMaps
from ichd.store.outbox import Outbox
from ichd.store.promises import Promises
from ichd.store.queue import Job, Queue

log = structlog.get_logger(__name__)

#: For so long a courier may still need the heat of a finding, before an idle worker makes all of its maps.
_COURIERS_FIRST = timedelta(seconds=5)
_SWEEP_ORPHANS_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """What the parts of one worker share."""

    settings: Settings
    storage: Storage
    #: The model in force, and those that follow it.
    succession: Succession[Serving]
    heat_maps: HeatMaps
    last_seen: LastSeen
    outbox: Outbox
    delivery: DeliveryPolicy
    #: None where heat maps are switched off.
    explainers: Explainers | None


def run_worker(settings: Settings, stop: threading.Event) -> None:
    """Work until `stop` is set.

    Raises:
        WorkerHarmed: a step met a defect; the supervisor starts another worker.
    """
    storage = open_storage(settings)
    # Ready before anything is claimed: no study should wait for what happens once.
    started = perf_counter()
    bench = _bench(settings, storage)
    warm_up_s = round(perf_counter() - started, 1)
    if not bench.delivery.routes:
        log.warning("no_destination", mend="add a [[destination]] to ichd.toml; findings stay in the database")
    bell = threading.Event()
    couriers = _couriers(bench, stop)
    rhythm = Rhythm(settings=settings, storage=storage, owner=owner_name())
    self_test = rhythm.self_test(lambda: bench.succession.present.reader)
    idle, put_down = _idle_work(bench, self_test)
    worker = Worker(
        owner=owner_name(),
        queue=Queue(storage.engine),
        studies=storage.studies,
        steps={JobKind.ANALYSE: partial(_read, bench, couriers)},
        policy=worker_policy(settings),
        clock=utc_now,
        idle=idle,
        bell=bell,
    )
    ticks = start_worker_ticks(
        rhythm,
        study_ready=bell.set,
        sweeps={
            "embeddings": partial(_sweep_embeddings, bench),
            "heat_maps": bench.heat_maps.sweep,
            "outbox": lambda now: bench.outbox.sweep(
                older_than=timedelta(days=settings.spool.outbox_days), orphans_after=_SWEEP_ORPHANS_AFTER, now=now
            ),
        },
        destinations=frozenset(bench.delivery.routes),
        self_test=self_test,
    )
    trail = RoleTrail(storage.engine, settings, "worker")
    trail.started()
    couriers.start()
    first = bench.succession.present
    log.info(
        "worker_ready",
        model=first.identity.name,
        version=first.identity.version,
        weights=first.identity.weights_sha256[:12],
        engine=first.reader.engine.name,
        warm_up_s=warm_up_s,
    )
    try:
        worker.run(stop)
    finally:
        # Also where a defect ends the readings: the couriers must not outlive them.
        stop.set()
        try:
            couriers.join()
        finally:
            put_down.close()
            bench.succession.close()
            trail.stopped()
            ticks.shutdown(wait=True)
            storage.engine.dispose()
    log.info("worker_stopped")


def _bench(settings: Settings, storage: Storage) -> _Bench:
    last_seen = LastSeen()
    succession, explainers = start_succession(settings, Equipment(settings, storage, last_seen))
    return _Bench(
        settings=settings,
        storage=storage,
        succession=succession,
        heat_maps=HeatMaps(storage.engine, storage.spool),
        last_seen=last_seen,
        outbox=Outbox(storage.engine, storage.spool),
        delivery=delivery_policy(settings),
        explainers=explainers,
    )


def _read(bench: _Bench, couriers: Couriers, job: Job) -> None:
    # Asked for once: whoever is in force by the end of it, the study is read by one model.
    serving = bench.succession.look()
    analyse(
        job,
        studies=bench.storage.studies,
        reader=serving.reader,
        embeddings=serving.embeddings,
        last_seen=bench.last_seen,
        policy=reading_policy(bench.settings),
        destinations=bench.delivery.destinations,
        clock=utc_now,
    )
    couriers.ring()


def _couriers(bench: _Bench, stop: threading.Event) -> Couriers:
    storage, settings = bench.storage, bench.settings
    courier = Courier(
        deliveries=Deliveries(storage.engine, storage.spool),
        outbox=bench.outbox,
        renderer=Renderer(outbox=bench.outbox, heat_maps=bench.heat_maps, explainer=bench.explainers, clock=utc_now),
        promises=Promises(storage.engine),
        policy=bench.delivery,
        clock=utc_now,
    )
    bells = {each.name: threading.Event() for each in settings.destination}
    lanes = {
        each.name: Worker(
            owner=owner_name(),
            queue=Queue(storage.engine),
            studies=storage.studies,
            steps={JobKind.PUBLISH: courier.publish},
            policy=replace(worker_policy(settings), retry=patience_with(each, settings)),
            clock=utc_now,
            bell=bells[each.name],
            destination=each.name,
        )
        for each in settings.destination
    }
    return Couriers(lanes, bells, stop)


def _idle_work(bench: _Bench, self_test: SelfTest | None) -> tuple[IdleWork, ExitStack]:
    """What this worker does while no job waits, the more urgent first, and what ends it with the worker."""
    tasks: dict[str, Piece] = {"succession": partial(_look_for_successor, bench)}
    put_down = ExitStack()
    if bench.settings.worker.ahead:
        tasks["ahead"] = partial(_work_ahead, bench)
    if self_test is not None:
        tasks["self_test"] = self_test.step
    if bench.explainers is not None:
        patience = _COURIERS_FIRST if wants_pictures(bench.settings) else timedelta()
        maps = Maps(heat_maps=bench.heat_maps, explainer=bench.explainers, clock=utc_now, patience=patience)
        tasks["heat_maps"] = maps.step
        put_down.callback(maps.close)
    return IdleWork(tasks, utc_now), put_down


def _sweep_embeddings(bench: _Bench, now: datetime) -> int:
    """Those of the model in force are in use; an earlier one's stay for the week in which it may be rolled back to."""
    return bench.succession.present.embeddings.sweep(now)


def _look_for_successor(bench: _Bench) -> bool:
    """A glance, and no work: the successor is made ready by a thread of its own."""
    bench.succession.look()
    if bench.explainers is not None:
        bench.explainers.sweep(utc_now())
    return False


def _work_ahead(bench: _Bench) -> bool:
    ahead = bench.succession.present.ahead
    return ahead is not None and ahead.step()


def owner_name() -> str:
    """Who holds a lease: unique for each start of a worker, readable for people."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
