"""The DIMSE door: C-ECHO, C-STORE of CT images, and the services and small objects that others take."""

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import structlog

from ichd.domain.errors import UserError
from ichd.intake.counter import Counter
from ichd.intake.dimse.conversation import Conversation, Terms
from ichd.intake.dimse.doorkeeper import Caps, Doorkeeper
from ichd.intake.dimse.meter import Meter
from ichd.intake.dimse.negotiation import Welcome, offered_contexts
from ichd.intake.dimse.serving import Offer
from ichd.intake.dimse.tls import ServerTls, TlsFiles
from ichd.intake.dimse.wire import Wire
from ichd.intake.peers import AllowedPeer
from ichd.intake.service import Service
from ichd.store.arrivals import Arrivals
from ichd.telemetry import Survived

_log = structlog.get_logger(__name__)

#: A burst of senders must find room.
_BACKLOG = 512
#: When the system has no connection to give, until it is asked again.
_SHORT_OF_SOCKETS_S = 0.1
#: The database is no quicker with more of them.
_SERVICES_AT_ONCE = 2
#: The door looks up so often while nobody knocks, so that it is seen to stand open.
_LOOKS_UP_EVERY_S = 1.0
#: For dropped connections to be accounted for.
_LAST_WORDS_S = 1.0


@dataclass(frozen=True, kw_only=True)
class ListenerConfig:
    """How the listener listens."""

    ae_title: str = "ICHD"
    host: str = "127.0.0.1"
    #: 0 for a free one.
    port: int = 11112
    #: Longest PDU that peers are asked to send; fragments of 128 KiB are up to twice as fast as of 16 KiB.
    max_pdu: int = 131072
    #: Associated or not.
    max_connections: int = 256
    max_connections_per_address: int = 128
    max_associations: int = 32
    max_associations_per_address: int = 16
    #: Who may send; everybody where nobody is listed.
    allowed_peers: tuple[AllowedPeer, ...] = ()
    #: Reject who calls us by another name.
    require_called_ae_title: bool = False
    #: Take TLS connections only.
    tls: TlsFiles | None = None
    #: Silence after which a connection is dropped.
    network_timeout_s: float = 30.0
    #: A connection that has not asked for an association by then is dropped.
    association_timeout_s: float = 10.0


class Listener:
    """Listens from `start` to `stop`; its threads are its own."""

    def __init__(
        self,
        config: ListenerConfig,
        counter: Counter,
        arrivals: Arrivals,
        clock: Callable[[], datetime],
        *,
        services: Mapping[str, Service] = MappingProxyType({}),
        objects: Mapping[str, Service] = MappingProxyType({}),
        provided: Collection[str] = (),
    ) -> None:
        self._config = config
        self._counter = counter
        self._arrivals = arrivals
        self._clock = clock
        self._offer = Offer(services=services, objects=objects, at_once=threading.Semaphore(_SERVICES_AT_ONCE))
        #: SOP classes of services that a peer may provide to us.
        self._provided = frozenset(provided)
        self._doorkeeper = Doorkeeper(
            Caps(
                connections=config.max_connections,
                connections_per_address=config.max_connections_per_address,
                associations=config.max_associations,
                associations_per_address=config.max_associations_per_address,
            )
        )
        #: What happens at this door.
        self.meter = Meter()
        self._socket: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._turned_at = time.monotonic()
        self._conversations: dict[Conversation, threading.Thread] = {}
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """The port in use, also where a free one was asked for."""
        return int(self._socket.getsockname()[1]) if self._socket else self._config.port

    @property
    def place(self) -> str:
        """Where it listens, by machine: whoever has this place knows that former listeners there are dead."""
        return f"{socket.gethostname()}/{self._config.host}:{self.port}"

    def idle_s(self) -> float:
        """Since when the loop that accepts connections has not turned: a second at most, unless it hangs."""
        return time.monotonic() - self._turned_at

    def start(self) -> None:
        """Listen; returns at once.

        Raises:
            UserError: the address can't be listened on, or the certificate can't be used.
            Transient: the database does not answer, or the spool can't be written.
        """
        tls = ServerTls(self._config.tls, self._clock) if self._config.tls else None
        with ExitStack() as on_failure:
            self._socket = listening = self._bind()
            on_failure.callback(self._close_socket, listening)
            self._counter.open(now=self._clock())
            # Only after the port is ours: a second listener started by mistake must not end what the first one serves.
            interrupted = self._arrivals.end_interrupted(listener=self.place, now=self._clock())
            on_failure.pop_all()
        accept = threading.Thread(target=self._accept, args=(listening, self._terms(tls)), name="ichd-accept")
        accept.daemon = True
        accept.start()
        self._accepting = accept
        _log.info(
            "listening",
            host=self._config.host,
            port=self.port,
            tls=tls is not None,
            interrupted_associations=interrupted,
        )

    def stop(self, *, grace_s: float = 3.0) -> None:
        """Accept nothing more, let each association finish the image that it is sending, then abort it."""
        if self._socket is None or self._accepting is None:
            return
        listening, self._socket = self._socket, None
        # Wakes the thread that accepts; closing alone would not.
        listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        listening.close()
        with self._lock:
            remaining = dict(self._conversations)
        for conversation in remaining:
            conversation.finish()
        _join(remaining.values(), time.monotonic() + grace_s)
        stalled = {conversation: thread for conversation, thread in remaining.items() if thread.is_alive()}
        for conversation in stalled:
            conversation.drop()
        _join(stalled.values(), time.monotonic() + _LAST_WORDS_S)
        self._counter.close()
        _log.info("listener_stopped", ended=len(remaining), dropped=len(stalled))

    def _bind(self) -> socket.socket:
        host, port = self._config.host, self._config.port
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, address = found[0]
            everywhere = host == "::" and socket.has_dualstack_ipv6()
            return socket.create_server(address[:2], family=family, backlog=_BACKLOG, dualstack_ipv6=everywhere)
        except OSError as error:
            raise UserError(
                f"can't listen on {host}:{port} ({error.strerror}); "
                "stop what uses it or change dicom.host and dicom.port"
            ) from error

    def _terms(self, tls: ServerTls | None) -> Terms:
        return Terms(
            counter=self._counter,
            doorkeeper=self._doorkeeper,
            welcome=Welcome(
                ae_title=self._config.ae_title,
                allowed_peers=self._config.allowed_peers,
                require_called_ae_title=self._config.require_called_ae_title,
            ),
            offered=offered_contexts((*self._offer.services, *self._offer.objects)),
            offer=self._offer,
            provided=self._provided,
            place=self.place,
            max_pdu=self._config.max_pdu,
            association_timeout_s=self._config.association_timeout_s,
            tls=tls.context if tls else None,
            clock=self._clock,
            meter=self.meter,
        )

    def _accept(self, listening: socket.socket, terms: Terms) -> None:
        listening.settimeout(_LOOKS_UP_EVERY_S)
        while self._socket is listening:
            self._turned_at = time.monotonic()
            try:
                connection, address = listening.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if self._socket is listening:
                    _log.warning("connection_not_accepted", error=error.strerror)
                    time.sleep(_SHORT_OF_SOCKETS_S)
                continue
            self._receive(connection, str(address[0]), terms)

    def _receive(self, connection: socket.socket, address: str, terms: Terms) -> None:
        try:
            wire = Wire(connection, max_pdu=terms.max_pdu, timeout_s=self._config.network_timeout_s)
        except OSError:
            # Gone before we looked.
            connection.close()
            return
        conversation = Conversation(wire, address, terms)
        if not self._doorkeeper.enter(conversation, address):
            _log.warning("connection_refused", address=address)
            wire.close()
            return
        thread = threading.Thread(target=self._talk, args=(conversation,), name="ichd-association", daemon=True)
        with self._lock:
            self._conversations[conversation] = thread
        try:
            thread.start()
        except RuntimeError:
            _log.error("connection_not_served", address=address, cause="no thread to be had")
            wire.close()
            self._forget(conversation)

    def _close_socket(self, listening: socket.socket) -> None:
        self._socket = None
        listening.close()

    def _talk(self, conversation: Conversation) -> None:
        try:
            with Survived("connection_failed"):
                conversation.run()
        finally:
            self._forget(conversation)

    def _forget(self, conversation: Conversation) -> None:
        self._doorkeeper.leave(conversation)
        with self._lock:
            self._conversations.pop(conversation, None)


def _join(threads: Iterable[threading.Thread], deadline: float) -> None:
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
