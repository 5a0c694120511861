"""The DIMSE door: a service class provider for C-ECHO and C-STORE of CT images."""

import io
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from ichd.domain.arrival import Door
from ichd.domain.errors import Refused, Transient, UserError
from ichd.intake.admit import ACCEPTED_SOP_CLASSES, Claim, Counter, Sender, Visit
from ichd.intake.guard import GuardedServer, Oversize, ReceptionLimits, drop
from ichd.intake.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from ichd.intake.peers import AllowedPeer, Rejection, rejection_of
from ichd.intake.status import SUCCESS, failure
from ichd.intake.syntax import TRANSFER_SYNTAXES
from ichd.store.arrivals import Arrivals

if TYPE_CHECKING:
    from pynetdicom.association import Association

_log = structlog.get_logger(__name__)

#: Connections that have not associated yet, beside the ones that have.
_SPARE_CONNECTIONS = 32
_POLL_S = 0.02
#: Stands for bytes that were counted and not held.
_DROPPED = bytes(1 << 20)
#: For dropped connections to be accounted for.
_LAST_WORDS_S = 1.0


@dataclass(frozen=True, kw_only=True)
class ListenerConfig:
    """How the listener listens."""

    ae_title: str = "ICHD"
    host: str = "127.0.0.1"
    #: 0 for a free one.
    port: int = 11112
    max_associations: int = 32
    #: Longest PDU that peers are asked to send; fragments of 128 KiB are up to twice as fast as of 16 KiB.
    max_pdu: int = 131072
    #: Largest data set that is taken.
    max_instance_bytes: int = 64 << 20
    #: Who may send; everybody where nobody is listed.
    allowed_peers: tuple[AllowedPeer, ...] = ()
    #: Silence after which a connection is dropped.
    network_timeout_s: float = 30.0
    #: A connection that has not asked for an association by then is dropped.
    association_timeout_s: float = 10.0


@dataclass(kw_only=True)
class _Visit:
    """One accepted association and what it has done so far."""

    visit: Visit
    serving: bool = False


class Listener:
    """Listens from `start` to `stop`; its threads are its own."""

    def __init__(
        self, config: ListenerConfig, counter: Counter, arrivals: Arrivals, clock: Callable[[], datetime]
    ) -> None:
        self._config = config
        self._counter = counter
        self._arrivals = arrivals
        self._clock = clock
        self._visits: dict[Association, _Visit] = {}
        self._visiting = threading.Lock()
        self._server: GuardedServer | None = None

    @property
    def port(self) -> int:
        """The port in use, also where a free one was asked for."""
        return int(self._server.server_address[1]) if self._server else self._config.port

    @property
    def place(self) -> str:
        """Where it listens, by machine: whoever has this place knows that former listeners there are dead."""
        return f"{socket.gethostname()}/{self._config.host}:{self.port}"

    def start(self) -> None:
        """Listen; returns at once.

        Raises:
            UserError: the address can't be listened on.
            Transient: the database does not answer, or the spool can't be written.
        """
        # pynetdicom's own handlers would log every PDU with the names in it; they are chosen when a server is made.
        _config.LOG_HANDLER_LEVEL = "none"
        self._server = server = self._bind()
        try:
            self._counter.open()
            # Only after the port is ours: a second listener started by mistake must not end what the first one serves.
            interrupted = self._arrivals.end_interrupted(listener=self.place, now=self._clock())
        except Transient:
            self._server = None
            server.server_close()
            raise
        threading.Thread(target=server.serve_forever, args=(0.1,), name="ichd-accept", daemon=True).start()
        _log.info("listening", host=self._config.host, port=self.port, interrupted_associations=interrupted)

    def stop(self, *, grace_s: float = 3.0) -> None:
        """Accept nothing more, let each association finish the image that it is sending, then abort it."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        with self._visiting:
            done_before = {association: _done(visit) for association, visit in self._visits.items()}
        deadline = time.monotonic() + grace_s
        quiet: set[Association] = set()
        told: set[Association] = set()
        while (remaining := _running(server)) or self._visits:
            for association in remaining:
                visit = self._visits.get(association)
                if visit is None or time.monotonic() > deadline:
                    drop(association)
                elif association in quiet - told:
                    told.add(association)
                    # Aborting waits for the connection to close, so that each gets a thread.
                    threading.Thread(target=association.abort, name="ichd-abort", daemon=True).start()
                elif not _is_sending(association, visit, done_before.get(association, 0)):
                    # The answer to its last image may still be on its way out: aborted at the next look.
                    quiet.add(association)
            if time.monotonic() > deadline + _LAST_WORDS_S:
                break
            time.sleep(_POLL_S)
        self._counter.close()
        _log.info("listener_stopped", aborted=len(told), left=len(remaining))

    def _bind(self) -> GuardedServer:
        ae = AE(ae_title=self._config.ae_title)
        ae.maximum_pdu_size = self._config.max_pdu
        ae.network_timeout = self._config.network_timeout_s
        ae.acse_timeout = self._config.association_timeout_s
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        limits = ReceptionLimits(
            max_pdu=self._config.max_pdu,
            max_instance_bytes=self._config.max_instance_bytes,
            max_connections=self._config.max_associations + _SPARE_CONNECTIONS,
            network_timeout_s=self._config.network_timeout_s,
        )
        # pynetdicom counts connections here, associated or not, and so lets idle ones lock others out; we count visits.
        ae.maximum_associations = limits.max_connections + 1
        ae.add_supported_context(Verification)
        for sop_class in ACCEPTED_SOP_CLASSES:
            ae.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
        address = (self._config.host, self._config.port)
        try:
            server = ae.make_server(
                address,
                evt_handlers=[
                    (evt.EVT_REQUESTED, self._on_requested),
                    (evt.EVT_C_STORE, self._on_store),
                    (evt.EVT_RELEASED, self._on_released),
                ],
                server_class=GuardedServer,
                limits=limits,
                ended=self._ended,
            )
        except OSError as error:
            raise UserError(
                f"can't listen on {address[0]}:{address[1]} ({error.strerror}); "
                "stop what uses it or change dicom.host and dicom.port"
            ) from error
        # `shutdown` takes the server out of this list again.
        ae._servers.append(server)
        return cast(GuardedServer, server)

    def _on_requested(self, event: evt.Event) -> None:
        association = event.assoc
        request = cast(A_ASSOCIATE, association.requestor.primitive)
        sender = Sender(calling_ae_title=request.calling_ae_title.strip(), address=association.requestor.address)
        rejection = rejection_of(sender.calling_ae_title, sender.address, self._config.allowed_peers)
        if rejection is None:
            with self._visiting:
                if len(self._visits) < self._config.max_associations:
                    visit = self._counter.welcome(sender, door=Door.DIMSE, place=self.place, now=self._clock())
                    self._visits[association] = _Visit(visit=visit)
                    return
            rejection = Rejection.LOCAL_LIMIT_EXCEEDED
        answer = rejection.value
        association.acse.send_reject(answer.result, answer.source, answer.diagnostic)
        # Waits until the answer is on its way: without it the connection may be closed first.
        association.kill()
        # Only then: the database may keep us waiting, the peer should not.
        self._counter.turn_away_association(rejection.as_error(), sender, now=self._clock())

    def _on_store(self, event: evt.Event) -> int | Dataset:
        visit = self._visits[event.assoc]
        visit.serving = True
        try:
            return self._store(event, visit)
        finally:
            visit.serving = False

    def _store(self, event: evt.Event, visit: _Visit) -> int | Dataset:
        request = cast(C_STORE, event.request)
        dataset = cast(io.BytesIO, request.DataSet)
        claim = Claim(
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
        )
        with visit.visit.receive(claim) as reception:
            # The bytes as they came, not copied: `event.dataset` would decode them.
            reception.write(dataset.getbuffer())
            if isinstance(dataset, Oversize):
                for begin in range(0, dataset.size, len(_DROPPED)):
                    reception.write(_DROPPED[: dataset.size - begin])
            try:
                reception.admit(now=self._clock())
            except (Refused, Transient) as error:
                return failure(error)
        return SUCCESS

    def _on_released(self, event: evt.Event) -> None:
        # Now, and not when the peer closes the connection, which some never do.
        self._ended(event.assoc)

    def _ended(self, association: "Association") -> None:
        """Account for the end of an association; what is told of later, or twice, is no news."""
        with self._visiting:
            visit = self._visits.pop(association, None)
        if visit is None:
            return
        visit.visit.end(released=bool(association.is_released), now=self._clock())


def _running(server: GuardedServer) -> list["Association"]:
    return [association for association in server.active_associations if association.dul.is_alive()]


def _done(visit: _Visit) -> int:
    return visit.visit.stored + visit.visit.refused


def _is_sending(association: "Association", visit: _Visit, done_before: int) -> bool:
    """Whether it is in the middle of its first image since `done_before` were counted."""
    busy = visit.serving or association.dimse.message is not None or not association.dimse.msg_queue.empty()
    return busy and _done(visit) == done_before
