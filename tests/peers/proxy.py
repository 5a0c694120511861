"""A proxy before a server that does what networks do: it loses an answer, stalls, or breaks its connections."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 1 << 16


class Proxy:
    """Passes everything on, until it is told otherwise."""

    def __init__(self, listening: socket.socket, port: int) -> None:
        self.port: int = listening.getsockname()[1]
        #: The word after which a client gets no answer any more: the server does as it was told, and nobody hears it.
        #: Forgotten once it was said.
        self.lose_answer_to: bytes | None = None
        #: The word with which, and the word behind which, nothing gets through any more. Forgotten once it was said.
        self.stall_with: bytes | None = None
        self.stall_behind: bytes | None = None
        #: Answers that were lost.
        self.lost = 0
        self._server = port
        self._listening = listening
        self._flows = threading.Event()
        self._flows.set()
        self._ends: set[socket.socket] = set()

    def stall(self) -> None:
        """Nothing gets through, and nobody is told: what a partition looks like from both sides."""
        self._flows.clear()

    def flow(self) -> None:
        """What was held back goes on its way."""
        self._flows.set()

    def cut(self) -> None:
        """Every connection breaks; new ones are taken."""
        _hang_up(*self._ends)
        self._ends = set()

    def serve(self) -> None:
        """Take connections until the port is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._server))
                except OSError:
                    _hang_up(client)  # the server is away, as it would be without us
                    continue
                self._ends |= {client, server}
                losing = threading.Event()
                for way in (self._ask, self._answer):
                    threading.Thread(target=way, args=(client, server, losing), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with suppress(OSError):
            while said := client.recv(_CHUNK):
                if self._is_said("lose_answer_to", said):
                    losing.set()
                if self._is_said("stall_with", said):
                    self.stall()
                self._flows.wait()
                if self._is_said("stall_behind", said):
                    self.stall()
                server.sendall(said)
        self._end(client, server)

    def _is_said(self, what: str, said: bytes) -> bool:
        word: bytes | None = getattr(self, what)
        if word is None or word not in said:
            return False
        setattr(self, what, None)
        return True

    def _answer(self, client: socket.socket, server: socket.socket, losing: threading.Event) -> None:
        with suppress(OSError):
            while said := server.recv(_CHUNK):
                if losing.is_set():
                    self.lost += 1
                    break
                self._flows.wait()
                client.sendall(said)
        self._end(client, server)

    def _end(self, *ends: socket.socket) -> None:
        _hang_up(*ends)
        self._ends -= set(ends)


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        # Closed alone, a socket in which another thread waits would stay open for as long as that waits.
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextmanager
def running_proxy(port: int) -> Iterator[Proxy]:
    """A proxy before the server on `port` of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = Proxy(listening, port)
        thread = threading.Thread(target=proxy.serve, daemon=True)
        thread.start()
        yield proxy
        proxy.flow()
        proxy.cut()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
