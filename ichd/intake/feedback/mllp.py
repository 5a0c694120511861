"""MLLP (HL7 v2.5.1 implementation guide, appendix C): messages between 0x0B and 0x1C 0x0D, one answer each.

A connection may stay open for days and say nothing, as interface engines do; so an idle one costs a thread and no
more, and makes room when others come. A message that has begun must end in time, and within bounds.
"""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from ichd.domain.errors import IchdError, UserError
from ichd.intake.dimse.doorkeeper import Caps, Doorkeeper
from ichd.telemetry import Survived

_log = structlog.get_logger(__name__)

_START, _END = b"\x0b", b"\x1c\r"
_BACKLOG = 32
_CHUNK = 16 << 10
#: When the system has no connection to give, until it is asked again.
_SHORT_OF_SOCKETS_S = 0.1
_LAST_WORDS_S = 1.0

#: The answer to a message from an address.
Answering = Callable[[bytes, str, datetime], bytes]


@dataclass(frozen=True, kw_only=True)
class MllpConfig:
    """How the door behaves."""

    host: str
    #: 0 for a free one.
    port: int
    #: A report of text has a few kB; one with a document in it is no word.
    max_message_bytes: int = 256 << 10
    max_connections: int = 32
    max_connections_per_address: int = 16
    #: From the first byte of a message to its last.
    message_timeout_s: float = 30.0
    #: A connection that brings nothing for so long has been forgotten.
    idle_timeout_s: float = 24 * 3600.0


class _Over(IchdError):
    """A connection is over: its peer went away, was too slow, or does not speak MLLP."""


class MllpServer:
    """Listens from `start` to `stop`; each connection has a thread."""

    def __init__(self, config: MllpConfig, answering: Answering, clock: Callable[[], datetime]) -> None:
        self._config = config
        self._answering = answering
        self._clock = clock
        self._doorkeeper = Doorkeeper(
            Caps(
                connections=config.max_connections,
                connections_per_address=config.max_connections_per_address,
                # While a message is served, its connection does not make room for others.
                associations=config.max_connections,
                associations_per_address=config.max_connections_per_address,
            )
        )
        self._socket: socket.socket | None = None
        self._guests: set[_Guest] = set()
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """The port in use, also where a free one was asked for."""
        return int(self._socket.getsockname()[1]) if self._socket else self._config.port

    def start(self) -> None:
        """Listen; returns at once.

        Raises:
            UserError: the address can't be listened on.
        """
        host, port = self._config.host, self._config.port
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listening = socket.socket(family, kind, protocol)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
        except OSError as error:
            raise UserError(
                f"HL7 messages can't be taken on port {port} of {host} ({error.strerror}); "
                "set another feedback.hl7_port, or stop what uses it"
            ) from error
        self._socket = listening
        threading.Thread(target=self._accept, args=(listening,), name="ichd-mllp", daemon=True).start()
        _log.info("mllp_listening", host=host, port=self.port)

    def stop(self) -> None:
        """Take no more; a message that is being answered gets a moment for it."""
        listening, self._socket = self._socket, None
        if listening is None:
            return
        # A thread that waits in accept does not notice a closed socket.
        try:
            listening.shutdown(socket.SHUT_RDWR)
        except OSError:
            _log.debug("mllp_not_connected")
        listening.close()
        with self._lock:
            guests = list(self._guests)
        for guest in guests:
            guest.stop_reading()
        deadline = time.monotonic() + _LAST_WORDS_S
        for guest in guests:
            guest.done.wait(max(deadline - time.monotonic(), 0))
            guest.drop()

    def _accept(self, listening: socket.socket) -> None:
        while self._socket is listening:
            try:
                connection, address = listening.accept()
            except OSError as error:
                if self._socket is listening:
                    _log.warning("connection_not_accepted", error=error.strerror)
                    time.sleep(_SHORT_OF_SOCKETS_S)
                continue
            guest = _Guest(connection, str(address[0]), self._config)
            if not self._doorkeeper.enter(guest, guest.address):
                _log.warning("connection_refused", address=guest.address)
                connection.close()
                continue
            with self._lock:
                self._guests.add(guest)
            threading.Thread(target=self._serve, args=(guest,), name="ichd-mllp-guest", daemon=True).start()

    def _serve(self, guest: "_Guest") -> None:
        try:
            with Survived("connection_failed"):
                self._converse(guest)
        finally:
            self._doorkeeper.leave(guest)
            with self._lock:
                self._guests.discard(guest)
            guest.close()

    def _converse(self, guest: "_Guest") -> None:
        try:
            while True:
                message = guest.next_message()
                if self._doorkeeper.associate(guest) is not None:
                    # It was dropped for a newcomer in this very moment.
                    return
                guest.send(self._answering(message, guest.address, self._clock()))
                self._doorkeeper.part(guest)
        except _Over as over:
            if str(over):
                _log.warning("mllp_violated", rule=str(over), address=guest.address)


class _Guest:
    """One connection; reads and writes belong to its thread."""

    def __init__(self, connection: socket.socket, address: str, config: MllpConfig) -> None:
        self.address = address
        self.done = threading.Event()
        self._connection = connection
        self._config = config
        #: What came and was not handed out yet.
        self._held = bytearray()

    def next_message(self) -> bytes:
        """The content of the next frame.

        Raises:
            _Over: the peer went away, or must go.
        """
        self._skip_blanks()
        while not self._held:
            self._receive(self._config.idle_timeout_s)
            self._skip_blanks()
        deadline = time.monotonic() + self._config.message_timeout_s
        if not self._held.startswith(_START):
            raise _Over("bytes outside of a frame")
        searched = 0
        while (end := self._held.find(_END, searched)) < 0:
            if len(self._held) > self._config.max_message_bytes:
                raise _Over(f"a message of more than {self._config.max_message_bytes} bytes")
            searched = max(len(self._held) - 1, 0)
            self._receive(deadline - time.monotonic(), late="a message that did not end in time")
        message = bytes(self._held[1:end])
        del self._held[: end + len(_END)]
        return message

    def _skip_blanks(self) -> None:
        """Some senders end a frame with a line break more."""
        self._held = self._held.lstrip(b"\r\n ")

    def send(self, content: bytes) -> None:
        """Send a frame.

        Raises:
            _Over: the peer went away, or does not read.
        """
        try:
            self._connection.settimeout(self._config.message_timeout_s)
            self._connection.sendall(_START + content + _END)
        except OSError:
            raise _Over("the peer did not take its answer") from None

    def stop_reading(self) -> None:
        """Let the thread find the end of the connection; it can still answer."""
        self._shut(socket.SHUT_RD)

    def drop(self) -> None:
        """End it without a word; its thread finds out."""
        self._shut(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back; by its own thread only."""
        self._connection.close()
        self.done.set()

    def _shut(self, how: int) -> None:
        try:
            self._connection.shutdown(how)
        except OSError:
            # The peer was faster.
            return

    def _receive(self, patience_s: float, *, late: str = "") -> None:
        if patience_s <= 0:
            raise _Over(late)
        try:
            self._connection.settimeout(patience_s)
            chunk = self._connection.recv(_CHUNK)
        except TimeoutError:
            raise _Over(late) from None
        except OSError:
            raise _Over from None
        if not chunk:
            raise _Over("a connection that ended in the middle of a message" if self._held else "")
        self._held += chunk
