"""A proxy before a server that loses an answer when told to, as a network does."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 1 << 16


class LosingProxy:
    """Passes everything on, until a client says the word: then the server does as it was told, and nobody hears it."""

    def __init__(self, listening: socket.socket, port: int) -> None:
        self.port: int = listening.getsockname()[1]
        #: Set by a test; forgotten once it was said.
        self.lose_answer_to: bytes | None = None
        #: Answers that were lost.
        self.lost = 0
        self._server = port
        self._listening = listening

    def serve(self) -> None:
        """Take connections until the port is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                losing = threading.Event()
                for way in (self._ask, self._answer):
                    threading.Thread(target=way, args=(client, server, losing), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with suppress(OSError):
            while said := client.recv(_CHUNK):
                word = self.lose_answer_to
                if word is not None and word in said:
                    self.lose_answer_to = None
                    losing.set()
                server.sendall(said)
        _hang_up(client, server)

    def _answer(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with suppress(OSError):
            while said := server.recv(_CHUNK):
                if losing.is_set():
                    self.lost += 1
                    break
                client.sendall(said)
        _hang_up(client, server)


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextmanager
def losing_proxy(port: int) -> Iterator[LosingProxy]:
    """A proxy before the server on `port` of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = LosingProxy(listening, port)
        thread = threading.Thread(target=proxy.serve, daemon=True)
        thread.start()
        yield proxy
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
