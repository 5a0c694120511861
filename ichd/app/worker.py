"""The worker role: a warm model, the two steps, the ticks."""

import os
import secrets
import socket
import threading
from contextlib import ExitStack
from time import perf_counter

import structlog

from ichd.app.audit import RoleTrail, audit_source, collector_of
from ichd.app.clock import utc_now
from ichd.app.engine import load_reader
from ichd.app.policies import delivery_policy, reading_policy, tick_policy, worker_policy
from ichd.app.storage import Storage, open_storage
from ichd.domain.errors import UserError
from ichd.domain.job import JobKind
from ichd.pipeline.ahead import Ahead
from ichd.pipeline.analyse import analyse
from ichd.pipeline.deliver import publish
from ichd.pipeline.idle import IdleWork, Piece
from ichd.pipeline.maps import Maps
from ichd.pipeline.ship import AuditShipper
from ichd.pipeline.ticks import start_ticks
from ichd.pipeline.worker import Worker
from ichd.settings import Settings
from ichd.store.arriving import Arriving
from ichd.store.audit import Audit
from ichd.store.embeddings import Embeddings
from ichd.store.heatmaps import HeatMaps
from ichd.store.queue import Queue
from ichd.vision.attribution import Attribution
from ichd.vision.reader import Reader

log = structlog.get_logger(__name__)


def run_worker(settings: Settings, stop: threading.Event) -> None:
    """Work until `stop` is set."""
    storage = open_storage(settings)
    # Ready before anything is claimed: no study should wait for what happens once.
    started = perf_counter()
    reader = load_reader(settings.model)
    reader.warm_up()
    warm_up_s = round(perf_counter() - started, 1)
    delivery = delivery_policy(settings)
    reading = reading_policy(settings)
    policy = worker_policy(settings)
    embeddings = Embeddings(storage.spool, reader.engine.fingerprint)
    if not delivery.destinations:
        log.warning("no_destination", mend="add a [[destination]] to ichd.toml; findings stay in the database")
    bell = threading.Event()
    idle, put_down = _idle_work(settings, storage, reader, embeddings)
    worker = Worker(
        owner=owner_name(),
        queue=Queue(storage.engine),
        studies=storage.studies,
        steps={
            JobKind.ANALYSE: lambda job: analyse(
                job,
                studies=storage.studies,
                reader=reader,
                embeddings=embeddings,
                policy=reading,
                destinations=list(delivery.destinations),
                clock=utc_now,
            ),
            JobKind.PUBLISH: lambda job: publish(job, studies=storage.studies, policy=delivery, clock=utc_now),
        },
        policy=policy,
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
        sweeps={"embeddings": embeddings.sweep, "heat_maps": HeatMaps(storage.engine, storage.spool).sweep},
        ship_audit=ship_audit,
    )
    trail = RoleTrail(storage.engine, settings, "worker")
    trail.started()
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
        put_down.close()
        trail.stopped()
        ticks.shutdown(wait=True)
        storage.engine.dispose()
    log.info("worker_stopped")


def _idle_work(
    settings: Settings, storage: Storage, reader: Reader, embeddings: Embeddings
) -> tuple[IdleWork, ExitStack]:
    """What this worker does while no job waits, the more urgent first, and what ends it with the worker."""
    tasks: dict[str, Piece] = {}
    put_down = ExitStack()
    if settings.worker.ahead and reader.sees_slices_alone:
        arriving = Arriving(storage.engine, storage.spool)
        tasks["ahead"] = Ahead(arriving=arriving, reader=reader, embeddings=embeddings, clock=utc_now).step
    if settings.worker.heat_maps:
        try:
            attribution = Attribution(reader.engine.bundle)
        except UserError as error:
            log.warning("no_heat_maps", why=str(error))
        else:
            heat_maps = HeatMaps(storage.engine, storage.spool)
            maps = Maps(
                heat_maps=heat_maps, attribution=attribution, reader=reader, embeddings=embeddings, clock=utc_now
            )
            tasks["heat_maps"] = maps.step
            put_down.callback(maps.close)
    return IdleWork(tasks, utc_now), put_down


def owner_name() -> str:
    """Who holds a lease: unique for each start of a worker, readable for people."""
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
