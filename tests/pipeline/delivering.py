"""A courier as a worker makes one, with one destination that is a real peer."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from ichd.domain.delivery import ObjectKind
from ichd.domain.job import JobKind, RetryPolicy
from ichd.domain.record import Record
from ichd.pipeline.clock import utc_now
from ichd.pipeline.couriers import Couriers
from ichd.pipeline.deliver import Courier, DeliveryPolicy, Route
from ichd.pipeline.heat import Explainer
from ichd.pipeline.proof import Confirm
from ichd.pipeline.rendering import Renderer
from ichd.pipeline.worker import Worker, WorkerPolicy
from ichd.publish.cstore import CStore
from ichd.publish.peer import DimsePeer
from ichd.publish.sender import Sender
from ichd.report.hl7_letter import Addressee
from ichd.store.heatmaps import HeatMaps
from ichd.store.outbox import Outbox
from ichd.store.promises import Promises
from tests.store.house import House


def node(port: int, *, host: str = "127.0.0.1", name: str = "pacs", timeout_s: float = 5.0) -> CStore:
    """The way to a DICOM node."""
    peer = DimsePeer(name=name, host=host, port=port, ae_title="RECEIVER", calling_ae_title="ICHD", timeout_s=timeout_s)
    return CStore(peer=peer)


def route(
    sender: Sender,
    *wanted: ObjectKind,
    confirm: Confirm = Confirm.NO,
    not_analysed: bool = False,
    ae_title: str = "",
) -> Route:
    """A destination that gets some kinds; a Structured Report alone, where none is named."""
    return Route(
        sender=sender,
        wanted=wanted or (ObjectKind.SR,),
        addressee=Addressee(destination=sender.name),
        confirm=confirm,
        not_analysed=not_analysed,
        ae_title=ae_title,
    )


def courier(
    house: House,
    *routes: Route,
    allow_demo: bool = False,
    explainer: Explainer | None = None,
    clock: Callable[[], datetime] | None = None,
) -> Courier:
    """Who delivers for this house."""
    outbox = Outbox(house.engine, house.spool)
    clock = clock or (lambda: house.now)
    return Courier(
        deliveries=house.deliveries,
        outbox=outbox,
        renderer=Renderer(
            outbox=outbox, heat_maps=HeatMaps(house.engine, house.spool), explainer=explainer, clock=clock
        ),
        promises=Promises(house.engine),
        policy=DeliveryPolicy(routes={each.sender.name: each for each in routes}, allow_demo=allow_demo),
        clock=clock,
    )


def tell(*names: str) -> Callable[[Record], Sequence[str]]:
    """Destinations that are told of everything."""
    return lambda _record: names


@contextmanager
def lanes(house: House, retry: RetryPolicy, porter: Courier, *destinations: str) -> Iterator[None]:
    """A courier's lane for each destination on the wall's clock, as a worker has them."""
    stop = threading.Event()
    bells = {name: threading.Event() for name in destinations}
    workers = {
        name: Worker(
            owner=f"bench-{name}",
            queue=house.queue,
            studies=house.studies,
            steps={JobKind.PUBLISH: porter.publish},
            policy=WorkerPolicy(poll_s=0.2, lease_s=60.0, grace_s=5.0, retry=retry),
            clock=utc_now,
            bell=bells[name],
            destination=name,
        )
        for name in destinations
    }
    couriers = Couriers(workers, bells, stop)
    couriers.start()
    ringing = threading.Thread(target=_ring, args=(couriers, stop), daemon=True)
    ringing.start()
    try:
        yield
    finally:
        stop.set()
        # A lane that waits for a dead peer is left behind with its daemon thread.


def _ring(couriers: Couriers, stop: threading.Event) -> None:
    """Whoever reads a study rings when it is done; here the studies come by themselves."""
    while not stop.wait(0.005):
        couriers.ring()


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        yield server.getsockname()[1]
