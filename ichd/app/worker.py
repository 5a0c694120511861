"""The worker role: a warm model that reads, couriers that deliver, the ticks."""

import os
import secrets
import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from time import perf_counter

import structlog

from ichd.app.audit import RoleTrail, audit_source, collector_of
from ichd.app.clock import utc_now
from ichd.app.destinations import delivery_policy, patience_with, wants_pictures
from ichd.app.engine import load_reader
from ichd.app.policies import reading_policy, tick_policy, worker_policy
from ichd.app.storage import Storage, open_storage
from ichd.domain.errors import UserError
from ichd.domain.job import JobKind
from ichd.pipeline.ahead import Ahead
from ichd.pipeline.analyse import analyse
from ichd.pipeline.couriers import Couriers
from ichd.pipeline.deliver import Courier, DeliveryPolicy
from ichd.pipeline.heat import Explainer, LastSeen
from ichd.pipeline.idle import IdleWork, Piece
from ichd.pipeline.maps import Maps
from ichd.pipeline.rendering import Renderer
from ichd.pipeline.ship import AuditShipper
from ichd.pipeline.ticks import start_ticks
from ichd.pipeline.worker import Worker
from ichd.settings import Settings
from ichd.store.arriving import Arriving
from ichd.store.audit import Audit
from ichd.store.deliveries import Deliveries
from ichd.store.embeddings import Embeddings
from ichd.store.heatmaps import HeatMaps
from ichd.store.outbox import Outbox
from ichd.store.promises import Promises
from ichd.store.queue import Job, Queue
from ichd.vision.attribution import Attribution
from ichd.vision.reader import Reader

log = structlog.get_logger(__name__)

#: For so long a courier may still need the heat of a finding, before an idle worker makes all of its maps.
_COURIERS_FIRST = timedelta(seconds=5)
_SWEEP_ORPHANS_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """What the parts of one worker share."""

    settings: Settings
    storage: Storage
    reader: Reader
    embeddings: Embeddings
    heat_maps: HeatMaps
    last_seen: LastSeen
    outbox: Outbox
    delivery: DeliveryPolicy
    #: None where the model can't be looked into, or heat maps are switched off.
    explainer: Explainer | None


def run_worker(settings: Settings, stop: threading.Event) -> None:
    """Work until `stop` is set.

    Raises:
        WorkerHarmed: a step met a defect; the supervisor starts another worker.
    """
    storage = open_storage(settings)
    # Ready before anything is claimed: no study should wait for what happens once.
    started = perf_counter()
    reader = load_reader(settings.model)
    reader.warm_up()
    warm_up_s = round(perf_counter() - started, 1)
    bench = _bench(settings, storage, reader)
    if not bench.delivery.routes:
        log.warning("no_destination", mend="add a [[destination]] to ichd.toml; findings stay in the database")
    bell = threading.Event()
    couriers = _couriers(bench, stop)
    idle, put_down = _idle_work(bench)
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
    collector = collector_of(settings)
    ship_audit = None
    if collector is not None:
        ship_audit = AuditShipper(Audit(storage.engine), collector, audit_source(settings), utc_now).ship
    ticks = start_ticks(
        storage.studies,
        tick_policy(settings),
        utc_now,
        study_ready=bell.set,
        sweeps={
            "embeddings": bench.embeddings.sweep,
            "heat_maps": bench.heat_maps.sweep,
            "outbox": lambda now: bench.outbox.sweep(
                older_than=timedelta(days=settings.spool.outbox_days), orphans_after=_SWEEP_ORPHANS_AFTER, now=now
            ),
        },
        destinations=frozenset(bench.delivery.routes),
        ship_audit=ship_audit,
    )
    trail = RoleTrail(storage.engine, settings, "worker")
    trail.started()
    couriers.start()
    identity = reader.engine.bundle.identity
    log.info(
        "worker_ready",
        model=identity.name,
        weights=identity.weights_sha256[:12],
        engine=reader.engine.name,
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
            trail.stopped()
            ticks.shutdown(wait=True)
            storage.engine.dispose()
    log.info("worker_stopped")


def _bench(settings: Settings, storage: Storage, reader: Reader) -> _Bench:
    embeddings = Embeddings(storage.spool, reader.engine.fingerprint)
    last_seen = LastSeen()
    explainer = None
    if settings.worker.heat_maps:
        try:
            attribution = Attribution(reader.engine.bundle)
        except UserError as error:
            log.warning("no_heat_maps", why=str(error))
        else:
            explainer = Explainer(attribution=attribution, reader=reader, embeddings=embeddings, last_seen=last_seen)
    return _Bench(
        settings=settings,
        storage=storage,
        reader=reader,
        embeddings=embeddings,
        heat_maps=HeatMaps(storage.engine, storage.spool),
        last_seen=last_seen,
        outbox=Outbox(storage.engine, storage.spool),
        delivery=delivery_policy(settings),
        explainer=explainer,
    )


def _read(bench: _Bench, couriers: Couriers, job: Job) -> None:
    analyse(
        job,
        studies=bench.storage.studies,
        reader=bench.reader,
        embeddings=bench.embeddings,
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
        renderer=Renderer(outbox=bench.outbox, heat_maps=bench.heat_maps, explainer=bench.explainer, clock=utc_now),
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


def _idle_work(bench: _Bench) -> tuple[IdleWork, ExitStack]:
    """What this worker does while no job waits, the more urgent first, and what ends it with the worker."""
    tasks: dict[str, Piece] = {}
    put_down = ExitStack()
    if bench.settings.worker.ahead and bench.reader.sees_slices_alone:
        arriving = Arriving(bench.storage.engine, bench.storage.spool)
        tasks["ahead"] = Ahead(arriving=arriving, reader=bench.reader, embeddings=bench.embeddings, clock=utc_now).step
    if bench.explainer is not None:
        patience = _COURIERS_FIRST if wants_pictures(bench.settings) else timedelta()
        maps = Maps(heat_maps=bench.heat_maps, explainer=bench.explainer, clock=utc_now, patience=patience)
        tasks["heat_maps"] = maps.step
        put_down.callback(maps.close)
    return IdleWork(tasks, utc_now), put_down


def owner_name() -> str:
    """Who holds a lease: unique for each start of a worker, readable for people."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
