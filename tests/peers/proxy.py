"""A wire that can be cut: a TCP proxy on loopback that stalls, or breaks its connections, when the test says so."""

import selectors
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.peers.ports import free_port

_CHUNK = 1 << 16


class Proxy:
    """Takes connections on `port` and passes them on to `target_port`."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._flows = threading.Event()
        self._flows.set()
        self._closed = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", self.port))

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        self._flows.set()
        self._listening.close()
        self.cut()

    def stall(self) -> None:
        """Nothing gets through, and nobody is told: what a partition looks like from both sides."""
        self._flows.clear()

    def flow(self) -> None:
        """What was held back goes on its way."""
        self._flows.set()

    def cut(self) -> None:
        """Every connection breaks; new ones are taken."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            # Closed alone, a socket in which another thread waits would stay open for as long as that waits.
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                near, _ = self._listening.accept()
                self._flows.wait()
                far = socket.create_connection(("127.0.0.1", self._target_port), timeout=5.0)
                far.settimeout(None)
            except OSError:
                continue
            with self._lock:
                self._sockets |= {near, far}
            threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, suppress(OSError, ValueError):
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in selector.select():
                    piece = key.fileobj.recv(_CHUNK)  # type: ignore[union-attr]
                    self._flows.wait()
                    if not piece:
                        raise OSError("the end of one side is the end of the other")
                    key.data.sendall(piece)
        for each in (near, far):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
