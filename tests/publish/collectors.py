"""A syslog collector that keeps what it is sent: TLS (RFC 5425), TCP (RFC 6587), UDP (RFC 5426)."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Taken:
    """What a collector got, and a way to make it misbehave."""

    port: int
    messages: list[bytes] = field(default_factory=list)
    connections: int = 0
    #: Break connections by a reset after so many messages, without noting the rest.
    break_after: int | None = None


@contextmanager
def running_collector(*, context: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Taken]:
    """A collector on 127.0.0.1: TLS with a context, else TCP."""
    listening = socket.create_server(("127.0.0.1", port))
    taken = Taken(port=listening.getsockname()[1])
    stopping = threading.Event()

    def serve() -> None:
        while True:
            connection, _ = listening.accept()
            if stopping.is_set():
                connection.close()
                return
            taken.connections += 1
            connection.settimeout(10)
            with suppress(OSError), connection:
                _take(connection if context is None else context.wrap_socket(connection, server_side=True), taken)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield taken
    finally:
        stopping.set()
        socket.create_connection(("127.0.0.1", taken.port)).close()
        thread.join(20)
        listening.close()


def _take(connection: socket.socket, taken: Taken) -> None:
    with connection, connection.makefile("rb") as stream:
        got = 0
        while length := b"".join(iter(lambda: stream.read(1).strip(), b"")):
            if got == taken.break_after:
                # With a linger of zero, closing is a reset.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return
            message = stream.read(int(length))
            assert len(message) == int(length)
            taken.messages.append(message)
            got += 1
        if isinstance(connection, ssl.SSLSocket):
            connection.unwrap()


@contextmanager
def running_datagram_collector() -> Iterator[tuple[int, socket.socket]]:
    """Port and socket of a collector by UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(10)
        yield listening.getsockname()[1], listening
