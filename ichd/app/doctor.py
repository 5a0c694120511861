"""`ichd doctor`: everything that must be right before the first study, each line ok or with its mend."""

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from sqlalchemy import Engine

from ichd.app.audit import collector_of
from ichd.app.bucket import check_backlog
from ichd.app.checks import check_certificate, check_disk, open_existing, require_database
from ichd.app.clock import clock_of, utc_now
from ichd.app.clockwork import check_commission, check_self_test, check_ticks
from ichd.app.destinations import sender_of
from ichd.app.disk import watermarks
from ichd.app.engine import describe_engine, load_in_force
from ichd.app.entry import accounts_of
from ichd.app.feedback import examine_hl7_door
from ichd.app.listener import tls_files
from ichd.app.promoted import in_force, trouble_with
from ichd.app.sources import source_of
from ichd.app.storage import bucket_of
from ichd.app.web import web_tls_files
from ichd.domain.errors import CodedError, IchdError
from ichd.domain.reason import Reason
from ichd.intake.ask.archive import check_source
from ichd.intake.dimse.tls import TlsFiles, own_certificate
from ichd.intake.disk_gate import DiskGate
from ichd.publish.echo import echo
from ichd.publish.peer import DimsePeer
from ichd.publish.syslog import Collector, greet
from ichd.settings import DestinationSettings, DicomSettings, Settings, SourceSettings, WebSettings
from ichd.store.engine import check_schema, check_writable, open_database
from ichd.store.spool import Spool


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the table."""

    name: str
    ok: bool
    #: What was found, or how to mend it.
    detail: str


def examine(settings: Settings) -> Iterator[Check]:
    """All checks, in the order in which a study meets them; none changes anything."""
    yield _checked("listener", lambda: _listener(settings))
    if settings.dicom.tls is not None:
        files = tls_files(settings.dicom.tls)
        yield _checked("certificate", lambda: check_certificate(files, now=utc_now()))
    web_files = web_tls_files(settings.web)
    if web_files is not None:
        yield _checked("web certificate", lambda: check_certificate(web_files, now=utc_now()))
    if settings.web.account:
        yield _checked("web accounts", lambda: _accounts(settings.web))
    if settings.feedback.hl7_port is not None:
        yield _checked("feedback", lambda: examine_hl7_door(settings.feedback))
    yield _checked("database", lambda: _database(settings))
    yield _checked("ticks", lambda: _clockwork(settings, _ticks))
    yield _checked("self-test", lambda: _clockwork(settings, check_self_test))
    if settings.tick.commission_to is not None:
        yield _checked("commissioning", lambda: _clockwork(settings, check_commission))
    yield _checked("spool", lambda: _spool(settings))
    if settings.spool.is_bucket:
        yield _checked("uploads", lambda: check_backlog(open_existing(settings), now=utc_now()))
    yield _checked("disk", lambda: _disk(settings))
    yield _checked("model", lambda: _model(settings))
    yield _checked("engine", lambda: describe_engine(settings.model))
    for source in settings.source:
        yield _checked(f"source {source.name}", partial(_source, source, settings))
    if not settings.destination:
        yield Check(name="destinations", ok=False, detail="none: add a [[destination]], or findings reach nobody")
    for destination in settings.destination:
        yield _checked(f"destination {destination.name}", partial(_destination, destination, settings))
    collector = collector_of(settings)
    if collector is not None:
        yield _checked("audit trail", lambda: _collector(collector))


class _NotOk(IchdError):
    """A check failed; the message is the mend."""


def _checked(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=check())
    except IchdError as error:
        return Check(name=name, ok=False, detail=str(error))


def _listener(settings: Settings) -> str:
    dicom = settings.dicom
    if dicom.tls is not None:
        return _tls_listener(dicom, tls_files(dicom.tls))
    peer = DimsePeer(
        name="listener",
        host=dicom.local_host,
        port=dicom.port,
        ae_title=dicom.ae_title,
        calling_ae_title=dicom.ae_title,
        timeout_s=5.0,
    )
    try:
        echo(peer)
    except CodedError as error:
        if error.reason is Reason.ASSOCIATION_REJECTED:
            # Somebody listens and keeps to dicom.allowed_peers, which need not list ourselves.
            return f"{dicom.ae_title} listens on port {dicom.port} (and rejects us, who are not in dicom.allowed_peers)"
        raise _NotOk(f"nobody answers C-ECHO on port {dicom.port}; start `ichd serve`") from error
    return f"{dicom.ae_title} answers C-ECHO on port {dicom.port}"


def _tls_listener(dicom: DicomSettings, files: TlsFiles) -> str:
    """Whom the listener trusts is not us: that it shows our certificate is what can be said from here."""
    # Before anything else: a listener that is down is the first thing to mend.
    shown = _certificate_shown(dicom)
    if shown != own_certificate(files):
        raise _NotOk(
            f"port {dicom.port} shows another certificate than {files.certificate}; "
            "restart `ichd serve`, or end what listens there instead"
        )
    return f"shows {files.certificate} on port {dicom.port}"


def _certificate_shown(dicom: DicomSettings) -> bytes:
    """DER. It is compared, and so not verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((dicom.local_host, dicom.port), timeout=5.0) as plain,
            context.wrap_socket(plain) as secured,
        ):
            return secured.getpeercert(binary_form=True) or b""
    except ConnectionRefusedError as error:
        raise _NotOk(f"nobody listens on port {dicom.port}; start `ichd serve`") from error
    except OSError as error:
        raise _NotOk(
            f"who listens on port {dicom.port} speaks no TLS with us; end it, then start `ichd serve`"
        ) from error


def _accounts(web: WebSettings) -> str:
    accounts_of(web)
    return f"{len(web.account)}, each with a hash of its secret"


def _database(settings: Settings) -> str:
    require_database(settings.database.url)
    engine = open_database(settings.database.url)
    try:
        check_schema(engine)
        check_writable(engine)
        return f"{engine.url.render_as_string(hide_password=True)}, schema up to date, can be written"
    finally:
        engine.dispose()


def _ticks(engine: Engine) -> str:
    return check_ticks(engine, now=clock_of(engine)())


def _clockwork(settings: Settings, check: Callable[[Engine], str]) -> str:
    require_database(settings.database.url)
    engine = open_database(settings.database.url)
    try:
        check_schema(engine)
        return check(engine)
    finally:
        engine.dispose()


def _spool(settings: Settings) -> str:
    folder = settings.spool.root
    existing = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        key = "spool.folder" if settings.spool.is_bucket else "spool.url"
        raise _NotOk(f"{existing} can't be written by this user; change its owner or {key}")
    if not settings.spool.is_bucket:
        return f"{folder} can be written"
    bucket = bucket_of(settings.spool)
    bucket.rehearse()
    when = "before" if settings.spool.durability == "remote" else "after"
    return f"{bucket.url} takes, gives and removes objects; images go there {when} they are acknowledged, by {folder}"


def _disk(settings: Settings) -> str:
    return check_disk(DiskGate(Spool(settings.spool.root).free_fraction, watermarks(settings)))


def _model(settings: Settings) -> str:
    found = in_force(settings.model)
    identity = load_in_force(settings.model).identity
    trouble = trouble_with(settings.model, found)
    if trouble is not None:
        raise _NotOk(trouble)
    note = f"; {identity.statement}" if identity.statement else ""
    return f"{identity.name} {identity.version}, weights {identity.weights_sha256[:12]}, {found.source}{note}"


def _source(source: SourceSettings, settings: Settings) -> str:
    return check_source(source_of(source, settings))


def _collector(collector: Collector) -> str:
    greet(collector)
    if collector.transport == "udp":
        return f"goes to {collector}, where nobody answers; what gets lost on the way is lost"
    return f"{collector} takes our connection"


def _destination(destination: DestinationSettings, settings: Settings) -> str:
    sender = sender_of(destination, settings)
    answer = sender.check()
    model = load_in_force(settings.model).identity
    if model.demonstration and not sender.is_loopback and not settings.model.allow_demo:
        raise _NotOk(
            f"{answer}, but results of the demonstration model {model.name} are held back from it; "
            "use a clinical bundle, or set model.allow_demo"
        )
    return f"{destination.ae_title or destination.kind} at {_where(destination)} {answer}"


def _where(destination: DestinationSettings) -> str:
    """Of a URL only the host: what else stands in it may be a secret."""
    return destination.address or str(urlsplit(destination.url or "").hostname)
