"""What the parts of one worker share, and those parts: the step that reads, the lanes that deliver, the idle work."""

import os
import secrets
import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from time import perf_counter

from ichd.app.clock import Clock, clock_of
from ichd.app.destinations import delivery_policy, patience_with, wants_pictures
from ichd.app.policies import reading_policy, worker_policy
from ichd.app.serving import Equipment, Serving, start_succession
from ichd.app.slots import Slot
from ichd.app.storage import Storage
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
from ichd.pipeline.vigil import Vigil
from ichd.pipeline.worker import Worker, WorkerPolicy
from ichd.settings import Settings
from ichd.store.bell import has_bell
from ichd.store.deliveries import Deliveries
from ichd.store.heatmaps import HeatMaps
from ichd.store.outbox import Outbox
from ichd.store.promises import Promises
from ichd.store.queue import Job, Queue

#: For so long a courier may still need the heat of a finding, before an idle worker makes all of its maps.
_COURIERS_FIRST = timedelta(seconds=5)
#: Where a bell says when a job comes, polls are for what comes by time: a retry, a destination that is tried again, and
#: a bell that is lost. Their pauses begin at two seconds, and an idle lane costs one look a second.
_POLL_BESIDE_BELL_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What the parts of one worker share."""

    settings: Settings
    #: The same as the operator wrote them, before a slot dealt out GPUs and cores.
    written: Settings
    slot: Slot
    storage: Storage
    #: The one that times in the database go by.
    clock: Clock
    #: The model in force, and those that follow it.
    succession: Succession[Serving]
    heat_maps: HeatMaps
    last_seen: LastSeen
    outbox: Outbox
    delivery: DeliveryPolicy
    #: None where heat maps are switched off.
    explainers: Explainers | None
    vigil: Vigil
    #: How long it took to make the model ready.
    warm_up_s: float

    @property
    def rhythm(self) -> WorkerPolicy:
        """Of a lane."""
        policy = worker_policy(self.settings)
        if not has_bell(self.storage.engine):
            return policy
        return replace(policy, poll_s=max(policy.poll_s, _POLL_BESIDE_BELL_S))


def open_bench(settings: Settings, storage: Storage, slot: Slot, *, written: Settings) -> Bench:
    """Everything that is made once, the model warm; `settings` are those of the slot.

    Raises:
        UserError: the model can't be used.
        Permanent: the bundle is damaged.
    """
    last_seen, clock = LastSeen(), clock_of(storage.engine)
    began = perf_counter()
    succession, explainers = start_succession(settings, Equipment(settings, storage, last_seen, clock), clock)
    warm_up_s = round(perf_counter() - began, 1)
    return Bench(
        settings=settings,
        written=written,
        slot=slot,
        storage=storage,
        clock=clock,
        succession=succession,
        heat_maps=HeatMaps(storage.engine, storage.spool),
        last_seen=last_seen,
        outbox=Outbox(storage.engine, storage.spool),
        delivery=delivery_policy(settings),
        explainers=explainers,
        vigil=Vigil(Queue(storage.engine), clock, memory_mb=settings.worker.memory_mb),
        warm_up_s=warm_up_s,
    )


def readings_of(
    bench: Bench, couriers: Couriers, bell: threading.Event, self_test: SelfTest | None
) -> tuple[Worker, ExitStack]:
    """The lane that reads, with what it does while no job waits, and what ends that."""
    idle, put_down = _idle_work(bench, self_test)
    worker = Worker(
        owner=owner_name(bench.slot),
        queue=Queue(bench.storage.engine),
        studies=bench.storage.studies,
        steps={JobKind.ANALYSE: partial(_read, bench, couriers)},
        policy=bench.rhythm,
        clock=bench.clock,
        idle=idle,
        bell=bell,
        vigil=bench.vigil,
    )
    return worker, put_down


def couriers_of(bench: Bench, stop: threading.Event) -> Couriers:
    """A lane for each destination."""
    storage, settings = bench.storage, bench.settings
    courier = Courier(
        deliveries=Deliveries(storage.engine, storage.spool),
        outbox=bench.outbox,
        renderer=Renderer(
            outbox=bench.outbox, heat_maps=bench.heat_maps, explainer=bench.explainers, clock=bench.clock
        ),
        promises=Promises(storage.engine),
        policy=bench.delivery,
        clock=bench.clock,
    )
    bells = {each.name: threading.Event() for each in settings.destination}
    lanes = {
        each.name: Worker(
            owner=owner_name(bench.slot),
            queue=Queue(storage.engine),
            studies=storage.studies,
            steps={JobKind.PUBLISH: courier.publish},
            policy=replace(bench.rhythm, retry=patience_with(each, settings)),
            clock=bench.clock,
            bell=bells[each.name],
            destination=each.name,
            vigil=bench.vigil,
        )
        for each in settings.destination
    }
    return Couriers(lanes, bells, stop)


def sweep_embeddings(bench: Bench, now: datetime) -> int:
    """Those of the model in force are in use; an earlier one's stay for the week in which it may be rolled back to."""
    return bench.succession.present.embeddings.sweep(now)


def owner_name(slot: Slot) -> str:
    """Who holds a lease: unique for each start of a worker, readable for people."""
    return f"{socket.gethostname()}/{slot.name}/{os.getpid()}/{secrets.token_hex(4)}"


def _read(bench: Bench, couriers: Couriers, job: Job) -> None:
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
        clock=bench.clock,
    )
    couriers.ring()


def _idle_work(bench: Bench, self_test: SelfTest | None) -> tuple[IdleWork, ExitStack]:
    """What this worker does while no job waits, the more urgent first, and what ends it with the worker."""
    tasks: dict[str, Piece] = {"succession": partial(_look_for_successor, bench)}
    put_down = ExitStack()
    if bench.settings.worker.ahead:
        tasks["ahead"] = partial(_work_ahead, bench)
    if self_test is not None:
        tasks["self_test"] = self_test.step
    if bench.explainers is not None:
        patience = _COURIERS_FIRST if wants_pictures(bench.settings) else timedelta()
        maps = Maps(heat_maps=bench.heat_maps, explainer=bench.explainers, clock=bench.clock, patience=patience)
        tasks["heat_maps"] = maps.step
        put_down.callback(maps.close)
    return IdleWork(tasks, bench.clock), put_down


def _look_for_successor(bench: Bench) -> bool:
    """A glance, and no work: the successor is made ready by a thread of its own."""
    bench.succession.look()
    if bench.explainers is not None:
        bench.explainers.sweep(bench.clock())
    return False


def _work_ahead(bench: Bench) -> bool:
    ahead = bench.succession.present.ahead
    return ahead is not None and ahead.step()
