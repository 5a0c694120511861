"""Messages to a syslog collector: RFC 5424 over TLS (RFC 5425), TCP (RFC 6587) or UDP (RFC 5426), as PS3.15 A.6 and A.7
have them.

Syslog has no acknowledgement, so a connection that stays open loses what was on its way when it breaks, and a write to
a collector that went away succeeds. Each batch therefore has a connection of its own, which we end first: whoever says
goodbye after that has read everything before it.
"""

import fcntl
import socket
import ssl
import struct
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason

#: Facility 10 (security), severity 5 (normal but significant): what PS3.15 A.6 wants.
_PRIORITY = 10 * 8 + 5
_MESSAGE_ID = "DICOM+RFC3881"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_HOST_NAME = 255
_LOOK_EVERY_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Collector:
    """Who takes syslog messages."""

    host: str
    port: int
    transport: Literal["tls", "tcp", "udp"] = "tls"
    #: PEM files: whom we trust (the system's authorities otherwise), and who we are.
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    #: For each of: connection, handshake, writing, saying goodbye.
    timeout_s: float = 5.0

    def __str__(self) -> str:
        return f"{self.host}:{self.port} by {self.transport}"


def syslog_message(xml: bytes, *, at: datetime, host: str) -> bytes:
    """One message, not framed yet."""
    name = "".join(letter for letter in host if "!" <= letter <= "~")[:_LONGEST_HOST_NAME] or "-"
    moment = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    header = f"<{_PRIORITY}>1 {moment} {name} ichd - {_MESSAGE_ID} - "
    return header.encode("ascii") + _BYTE_ORDER_MARK + xml


def send(collector: Collector, messages: Sequence[bytes]) -> None:
    """Hand messages on, in their order; with UDP, to whom it may concern.

    Raises:
        Transient: the collector may have taken none, some or all of them.
    """
    if collector.transport == "udp":
        _send_datagrams(collector, messages)
        return
    with _connected(collector) as connection:
        connection.sendall(b"".join(b"%d %b" % (len(message), message) for message in messages))
        _part(connection, collector.timeout_s)


def greet(collector: Collector) -> None:
    """See whether the collector takes connections; one that listens by UDP can't be seen.

    Raises:
        Transient: it does not.
    """
    send(collector, [])


def _send_datagrams(collector: Collector, messages: Sequence[bytes]) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(collector.host, collector.port, type=socket.SOCK_DGRAM)[
            0
        ]
        with socket.socket(family, kind, protocol) as datagrams:
            datagrams.settimeout(collector.timeout_s)
            for message in messages:
                datagrams.sendto(message, address)
    except OSError as error:
        raise Transient(Reason.COLLECTOR_UNREACHABLE, f"{collector}: {_words(error)}") from error


@contextmanager
def _connected(collector: Collector) -> Iterator[socket.socket]:
    try:
        connection = socket.create_connection((collector.host, collector.port), timeout=collector.timeout_s)
    except OSError as error:
        raise Transient(Reason.COLLECTOR_UNREACHABLE, f"{collector}: {_words(error)}") from error
    with connection:
        secured = _secured(collector, connection) if collector.transport == "tls" else connection
        with secured:
            try:
                yield secured
            except OSError as error:
                raise Transient(Reason.COLLECTOR_LOST, f"{collector}: {_words(error)}") from error


def _secured(collector: Collector, connection: socket.socket) -> ssl.SSLSocket:
    context = _context(collector)
    try:
        return context.wrap_socket(connection, server_hostname=collector.host)
    except OSError as error:
        raise Transient(Reason.COLLECTOR_UNREACHABLE, f"{collector}: {_words(error)}") from error


def _context(collector: Collector) -> ssl.SSLContext:
    """Made anew each time, so that renewed files need no restart."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=collector.ca)
    except OSError as error:
        raise Transient(Reason.COLLECTOR_UNREACHABLE, f"audit.ca {collector.ca}: {_words(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if collector.certificate is not None:
        try:
            # An empty password makes an encrypted key an error, where OpenSSL would ask the terminal for one.
            context.load_cert_chain(collector.certificate, collector.key, password="")
        except OSError as error:
            pair = f"audit.certificate {collector.certificate}, audit.key {collector.key}"
            raise Transient(Reason.COLLECTOR_UNREACHABLE, f"{pair}: {_words(error)}") from error
    return context


def _part(connection: socket.socket, timeout_s: float) -> None:
    """Say goodbye and wait for the same.

    A collector that does not say it in time, or hung up without having been asked, has all that its machine
    acknowledged: one that closes a connection with something unread resets it.
    """
    deadline = time.monotonic() + timeout_s
    with suppress(TimeoutError):
        if isinstance(connection, ssl.SSLSocket):
            with suppress(ssl.SSLEOFError):
                connection.unwrap()
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    while _unacknowledged(connection):
        if trouble := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(trouble, "the connection was reset")
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
        time.sleep(_LOOK_EVERY_S)


def _unacknowledged(connection: socket.socket) -> int:
    """Bytes that the other machine has not confirmed yet."""
    (count,) = struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, struct.pack("i", 0)))
    return int(count)


def _words(error: OSError) -> str:
    """`ssl.SSLError` is an OSError whose text names a line of OpenSSL's sources."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS failed").lower().replace("_", " ")
    return error.strerror or str(error) or type(error).__name__
