"""The web role: the status page, and DICOMweb in and out."""

import socket
import ssl
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import Any

import structlog
import uvicorn
from fastapi import APIRouter, FastAPI

from ichd import __version__
from ichd.app.checks import check_disk
from ichd.app.clock import Clock, clock_of, utc_now
from ichd.app.clockwork import describe_self_test
from ichd.app.disk import watermarks
from ichd.app.entry import entry_of
from ichd.app.feedback import hl7_door
from ichd.app.notify import NOBODY, Watcher
from ichd.app.promoted import in_force, promoted_at, trouble_with
from ichd.app.storage import Storage, open_storage
from ichd.app.trail import RoleTrail
from ichd.app.uploading import uploading
from ichd.domain.errors import IchdError, Transient, UserError
from ichd.domain.finding import ModelIdentity
from ichd.intake.counter import Counter
from ichd.intake.dimse.tls import ServerTls, TlsFiles
from ichd.intake.disk_gate import DiskGate
from ichd.intake.feedback.key_objects import KeyObjects
from ichd.intake.stow.door import StowConfig
from ichd.intake.stow.router import stow_router
from ichd.settings import Settings, WebSettings
from ichd.settings.base import LOOPBACK
from ichd.store.arrivals import Arrivals
from ichd.store.catalogue import Catalogue
from ichd.store.engine import check_schema
from ichd.store.heatmaps import HeatMaps
from ichd.store.history import History
from ichd.store.reviews import Reviews
from ichd.vision.manifest import read_manifest
from ichd.web import Entry, Site, create_app
from ichd.web.access.gate import was_let_in
from ichd.web.doorstep import DoorCaps, Doorstep
from ichd.web.health import Check
from ichd.web.live import StreamCaps
from ichd.web.metrics import Watched, metrics_router
from ichd.web.patience import patient_protocol
from ichd.web.system import system_room
from ichd.web.visitor import sender_of

log = structlog.get_logger(__name__)

#: How long answers that are under way may take when the role stops.
_GRACE_S = 2
_BACKLOG = 128
#: Each connection may hold a part of a request in memory. Half of them are left to those who do not watch the worklist.
_MOST_CONNECTIONS = 512
_MOST_STREAMS = 256
#: A browser opens six, a sender a few; where all come through a proxy or from this machine they share one address.
_MOST_PER_ADDRESS = 64
_MOST_STREAMS_PER_ADDRESS = 32


#: For so long the event loop may be held up by one request.
_SLOWEST_TURN_S = 30.0


class _Server(uvicorn.Server):
    """One whose event loop is seen to turn."""

    turned_at = 0.0

    async def on_tick(self, counter: int) -> bool:
        """Called by the loop itself, ten times a second."""
        self.turned_at = time.monotonic()
        return await super().on_tick(counter)


def run_web(settings: Settings, stop: threading.Event, watcher: Watcher = NOBODY) -> None:
    """Serve pages and DICOMweb until `stop` is set.

    Raises:
        UserError: the port is taken, the database has another schema, an account's secret or the certificate can't be
            used.
        IchdError: the server ended by itself.
    """
    storage = open_storage(settings)
    clock = clock_of(storage.engine)
    counter = Counter(
        Arrivals(storage.engine),
        storage.spool,
        watermarks=watermarks(settings),
        max_instance_bytes=settings.dicom.max_instance_mb << 20,
        max_visit_bytes=settings.dicom.max_association_mb << 20,
    )
    encryption = _encryption(settings.web)
    entry = entry_of(settings.web, storage, clock)
    listening = _bind(settings.web)
    application = _application(
        settings,
        storage,
        entry,
        clock,
        _door(settings, storage, counter, clock, listening.getsockname()[1]),
        counter.gate,
    )
    config = uvicorn.Config(
        application,
        http=patient_protocol(listening, partial(was_let_in, asks=entry.accounts is not None)),
        # Only connections that this loop accepts and that speak HTTP alone are counted.
        loop="asyncio",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    config.load()
    config.ssl = encryption
    server = _Server(config)
    trail = RoleTrail(storage.engine, settings, "web", clock=clock)
    # In a thread of its own the server leaves the signals to whoever set `stop` up.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="web", daemon=True)
    words = ExitStack()
    try:
        words.enter_context(hl7_door(settings, storage, clock))
        words.enter_context(uploading(storage))
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        if thread.is_alive():
            log.info("web_ready", host=settings.web.host, port=listening.getsockname()[1])
            trail.started()
            watcher.ready(f"shows pages at {settings.web.host}:{listening.getsockname()[1]}")
            watcher.watch(lambda: time.monotonic() - server.turned_at < _SLOWEST_TURN_S)
        while not stop.wait(0.2):
            if not thread.is_alive():
                raise IchdError("the web server ended by itself; the log says why")
        watcher.stopping()
        trail.stopped()
    finally:
        application.state.live.stop()
        server.should_exit = True
        words.close()
        if thread.ident is not None:
            thread.join(_GRACE_S + 0.5)
        listening.close()
        counter.close()
        storage.engine.dispose()
    log.info("web_stopped")


def _bind(web: WebSettings) -> Doorstep:
    family, kind, protocol, _, address = socket.getaddrinfo(web.host, web.port, type=socket.SOCK_STREAM)[0]
    share_an_address = web.behind_tls or web.host in LOOPBACK
    caps = DoorCaps(
        connections=_MOST_CONNECTIONS,
        connections_per_address=_MOST_CONNECTIONS if share_an_address else _MOST_PER_ADDRESS,
    )
    listening = Doorstep(family, kind, protocol, caps=caps)
    # A restart must not wait for connections of the last life to time out.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise UserError(
            f"the status page can't use port {web.port} of {web.host} ({error.strerror}); "
            "set another web.port, or stop what uses it"
        ) from error
    return listening


def web_tls_files(web: WebSettings) -> TlsFiles | None:
    """The certificate of https, where there is one."""
    if web.certificate is None or web.key is None:
        return None
    return TlsFiles(certificate=web.certificate, key=web.key, section="web")


def _encryption(web: WebSettings) -> ssl.SSLContext | None:
    """What handshakes use; each takes the certificate as it is then, so that a renewed one needs no restart.

    Raises:
        UserError: the files can't be used, or the certificate is not valid today.
    """
    files = web_tls_files(web)
    if files is None:
        return None
    tls = ServerTls(files, utc_now)

    def follow(connection: Any, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = tls.context()

    context = tls.context()
    context.sni_callback = follow
    return context


def _door(settings: Settings, storage: Storage, counter: Counter, clock: Clock, port: int) -> APIRouter:
    """STOW-RS."""
    try:
        counter.open(now=clock())
    except Transient as error:
        # The page must come up all the same: it says what is wrong. The first image tries again.
        log.warning("spool_not_ready", error=str(error))
    place = f"{socket.gethostname()}/web:{port}"
    Arrivals(storage.engine).end_interrupted(listener=place, now=clock())
    config = StowConfig(place=place, max_request_bytes=settings.web.max_request_mb << 20)
    key_objects = KeyObjects(Reviews(storage.engine), Arrivals(storage.engine))
    return stow_router(config, counter, clock=clock, account_of=sender_of, key_objects=key_objects)


def _application(
    settings: Settings, storage: Storage, entry: Entry, clock: Clock, door: APIRouter, gate: DiskGate
) -> FastAPI:
    dicom = settings.dicom

    def model() -> ModelIdentity:
        return read_manifest(in_force(settings.model).folder).identity

    def database() -> str:
        check_schema(storage.engine)
        return "reachable, schema up to date"

    def model_named() -> str:
        found = in_force(settings.model)
        identity = read_manifest(found.folder).identity
        named = f"{identity.name} {identity.version}, {found.source}"
        # Studies are still read, by the model before: a warning, and no reason to turn images away.
        trouble = trouble_with(settings.model, found)
        return f"{named}; {trouble}" if trouble else named

    watched = Watched(
        version=__version__,
        model=model,
        destinations=[destination.name for destination in settings.destination],
        clock=clock,
        model_since=partial(promoted_at, settings.model),
        commissioned=settings.tick.commission_to if settings.tick.commission_h is not None else None,
    )
    checks: dict[str, Check] = {
        "database": database,
        "model": model_named,
        "disk": partial(check_disk, gate),
        # A warning: images are taken all the same, and can be read again once the model is mended.
        "self_test": partial(describe_self_test, storage.engine),
    }
    return create_app(
        studies=storage.studies,
        arrivals=Arrivals(storage.engine),
        catalogue=Catalogue(storage.engine, storage.spool),
        heat_maps=HeatMaps(storage.engine, storage.spool),
        reviews=Reviews(storage.engine),
        history=History(storage.engine, storage.spool),
        site=Site(version=__version__, listener=f"{dicom.ae_title}@{dicom.local_host}:{dicom.port}", model=model),
        checks=checks,
        clock=clock,
        entry=entry,
        doors=[door, metrics_router(storage.engine, watched)],
        rooms=[system_room(storage.engine, watched, checks)],
        # Behind a proxy the address is the viewer's own, from this machine it is everybody's.
        streams=StreamCaps(
            streams=_MOST_STREAMS,
            streams_per_address=_MOST_STREAMS if settings.web.host in LOOPBACK else _MOST_STREAMS_PER_ADDRESS,
        ),
    )
