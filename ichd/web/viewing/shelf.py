"""What was made for one viewer and may be asked for by the next, within a bound of memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future


class Shelf:
    """Keeps what was asked for last; what several threads ask for at once is made once."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held = 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._making: dict[Hashable, Future[bytes]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """What `make` gives; whatever it raises is raised to everybody who waits, by a `make` of his own."""
        while True:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
                awaited = self._making.get(key)
                if awaited is None:
                    promise = self._making[key] = Future()
                    break
            try:
                return awaited.result()
            except CancelledError:
                continue
        return self._make(key, make, promise)

    def _make(self, key: Hashable, make: Callable[[], bytes], promise: Future[bytes]) -> bytes:
        try:
            content = make()
            promise.set_result(content)
        finally:
            promise.cancel()  # of what was made already this is nothing
            with self._lock:
                del self._making[key]
                if promise.done() and not promise.cancelled():
                    self._keep(key, promise.result())
        return content

    def _keep(self, key: Hashable, content: bytes) -> None:
        self._kept[key] = content
        self._held += len(content)
        while self._held > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._held -= len(oldest)
