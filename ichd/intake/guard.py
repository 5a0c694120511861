"""Where bytes arrive: limits that pynetdicom advertises or leaves open, enforced on the socket.

The one module that reaches into pynetdicom 3.0 beyond its documentation. It relies on: `RequestHandler.handle` and
`_create_association`; `DULServiceProvider._read_pdu_data` asking `AssociationSocket.recv` for a PDU's header and then
for its whole body; an `OSError` there closing the association; `DIMSEServiceProvider.message` holding the message
under reception and its `data_set`; the plain `AssociationSocket` putting one Evt5 into the queue when it is made. The
attacks in tests/intake fail when one of these moves.
"""

import io
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import structlog
from pynetdicom import AE, evt
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

if TYPE_CHECKING:
    from pynetdicom.association import Association

_log = structlog.get_logger(__name__)

#: An A-ASSOCIATE-RQ with 128 presentation contexts of all transfer syntaxes is about 200 kB long.
_LONGEST_NEGOTIATION = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ReceptionLimits:
    """What a connection may cost."""

    max_pdu: int
    max_instance_bytes: int
    max_connections: int
    #: Silence, and also the whole of one PDU, may last this long.
    network_timeout_s: float


class Oversize(io.BytesIO):
    """Takes the place of a data set that grew too large: counts what still comes, and holds nothing.

    The sender gets its answer at the end, as PS3.7 has it; cutting the connection would only make it try again.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def write(self, fragment: Any, /) -> int:
        """Count a fragment."""
        self.size += len(fragment)
        return len(fragment)


class GuardedSocket(AssociationSocket):
    """Reads whole PDUs into one buffer, never longer ones than allowed and never for longer than allowed."""

    def __init__(self, assoc: "Association", client_socket: socket.socket, limits: ReceptionLimits) -> None:
        super().__init__(assoc, client_socket=client_socket)
        self._limits = limits

    def recv(self, nr_bytes: int) -> bytearray:
        """Exactly `nr_bytes`, or fewer where the peer closed the connection.

        Raises:
            ConnectionError: the PDU is longer than this connection may send.
            TimeoutError: it did not arrive in time.
        """
        longest = max(self._limits.max_pdu, _LONGEST_NEGOTIATION)
        if nr_bytes > longest:
            _log.warning("pdu_too_long", size=nr_bytes, limit=longest, address=self.assoc.requestor.address)
            raise ConnectionError("PDU longer than allowed")
        self._bound_data_set()
        connection = cast(socket.socket, self.socket)
        # Many senders write a command and its data set apart and leave Nagle's algorithm on: they hold the second back
        # until we acknowledge the first, which the kernel delays by 40 ms unless it is told anew each time.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        deadline = time.monotonic() + self._limits.network_timeout_s
        buffer = bytearray(nr_bytes)
        view = memoryview(buffer)
        filled = 0
        while filled < nr_bytes:
            received = connection.recv_into(view[filled:])
            if received == 0:
                return buffer[:filled]
            filled += received
            # The socket's own timeout ends silence; this ends a byte now and then.
            if filled < nr_bytes and time.monotonic() > deadline:
                raise TimeoutError("PDU not complete in time")
        return buffer

    def _bound_data_set(self) -> None:
        message = self.assoc.dimse.message
        if message is None or message.data_set is None or isinstance(message.data_set, Oversize):
            return
        if message.data_set.tell() > self._limits.max_instance_bytes:
            message.data_set = Oversize(message.data_set.tell())


class GuardedHandler(RequestHandler):
    """One connection, in a thread of its own that outlives its association and reports the end of it."""

    server: "GuardedServer"

    def handle(self) -> None:
        """Serve the connection until it ends."""
        try:
            self.request.settimeout(self.server.limits.network_timeout_s)
            # Nagle's algorithm holds back our small answers while the peer delays its acknowledgements.
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            association = self._create_association()
            evt.trigger(association, evt.EVT_CONN_OPEN, {"address": self.client_address})
            association.start()
            # Of the ways in which an association ends, pynetdicom announces some; its thread ends in all of them.
            association.join()
            self.server.ended(association)
        finally:
            self.server.leave()

    def _create_association(self) -> "Association":
        association = super()._create_association()
        # The plain socket announced the connection when it was made, and its successor does so again: once is right.
        association.dul.event_queue.get_nowait()
        association.dul.socket = GuardedSocket(association, self.request, self.server.limits)
        return association


class GuardedServer(ThreadedAssociationServer):
    """Accepts connections up to a number; what does not associate in time is dropped by its own thread."""

    daemon_threads = True
    # A burst of senders must find room: the default of 5 refuses connections under load.
    request_queue_size = 128

    def __init__(
        self,
        ae: AE,
        address: tuple[str, int],
        ae_title: str,
        contexts: list[PresentationContext],
        ssl_context: ssl.SSLContext | None = None,
        *,
        evt_handlers: list[evt.EventHandlerType],
        limits: ReceptionLimits,
        ended: "Callable[[Association], None]",
    ) -> None:
        self.limits = limits
        self.ended = ended
        self._open = 0
        self._counting = threading.Lock()
        super().__init__(ae, address, ae_title, contexts, ssl_context, evt_handlers, GuardedHandler)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Whether there is room for one more connection; called in the accepting thread."""
        with self._counting:
            if self._open < self.limits.max_connections:
                self._open += 1
                return True
        _log.warning("connection_refused", address=client_address[0], limit=self.limits.max_connections)
        return False

    def leave(self) -> None:
        """A connection has ended."""
        with self._counting:
            self._open -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A connection failed in its own thread; the standard library would print a traceback."""
        _log.exception("connection_failed", address=client_address[0])


def drop(association: "Association") -> None:
    """Close a connection without a word, whatever its state; its reactor ends at once."""
    if association.dul.socket is not None:
        association.dul.socket.close()
    association.dul.kill_dul()
