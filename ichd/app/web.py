"""The web role: the status page, on loopback."""

import socket
import threading
import time

import structlog
import uvicorn
from fastapi import FastAPI

from ichd import __version__
from ichd.app.checks import check_disk
from ichd.app.clock import utc_now
from ichd.app.storage import Storage, open_storage
from ichd.domain.errors import IchdError, UserError
from ichd.domain.finding import ModelIdentity
from ichd.settings import Settings, WebSettings
from ichd.store.arrivals import Arrivals
from ichd.store.catalogue import Catalogue
from ichd.store.engine import check_schema
from ichd.vision.manifest import read_manifest
from ichd.vision.shelf import find_bundle
from ichd.web import Site, create_app

log = structlog.get_logger(__name__)

#: How long answers that are under way may take when the role stops.
_GRACE_S = 2
_BACKLOG = 128


def run_web(settings: Settings, stop: threading.Event) -> None:
    """Serve the page until `stop` is set.

    Raises:
        UserError: the port is taken, or the database has another schema.
        IchdError: the server ended by itself.
    """
    storage = open_storage(settings)
    listening = _bind(settings.web)
    server = uvicorn.Server(
        uvicorn.Config(
            _application(settings, storage),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
    )
    # In a thread of its own the server leaves the signals to whoever set `stop` up.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="web", daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        if thread.is_alive():
            log.info("web_ready", host=settings.web.host, port=listening.getsockname()[1])
        while not stop.wait(0.2):
            if not thread.is_alive():
                raise IchdError("the web server ended by itself; the log says why")
    finally:
        server.should_exit = True
        thread.join(_GRACE_S + 0.5)
        listening.close()
        storage.engine.dispose()
    log.info("web_stopped")


def _bind(web: WebSettings) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(web.host, web.port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
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


def _application(settings: Settings, storage: Storage) -> FastAPI:
    dicom = settings.dicom

    def model() -> ModelIdentity:
        return read_manifest(find_bundle(settings.model.bundle)).identity

    def database() -> str:
        check_schema(storage.engine)
        return "reachable, schema up to date"

    def model_named() -> str:
        identity = model()
        return f"{identity.name} {identity.version}"

    def disk() -> str:
        return check_disk(storage.spool, high_watermark=settings.spool.high_watermark)

    return create_app(
        studies=storage.studies,
        arrivals=Arrivals(storage.engine),
        catalogue=Catalogue(storage.engine, storage.spool),
        site=Site(version=__version__, listener=f"{dicom.ae_title}@{dicom.local_host}:{dicom.port}", model=model),
        checks={"database": database, "model": model_named, "disk": disk},
        clock=utc_now,
    )
