"""How a daemon hears that it shall stop: by a signal, or by the end of its supervisor."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import structlog

from ichd.domain.ending import Ending

log = structlog.get_logger(__name__)

_LOOK_S = 0.1


def stop_on_signals(stop: threading.Event) -> None:
    """Set `stop` on SIGTERM and SIGINT; for the main thread.

    Not by the handler itself: it runs between two instructions of the main thread, which may be inside `stop.wait()`
    and hold the lock that `set` needs, so that both would wait for ever. Of what the library offers only
    `SimpleQueue.put` may be called there; a thread of its own does the rest.
    """
    heard: SimpleQueue[int] = SimpleQueue()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda heard_signum, _frame: heard.put(heard_signum))

    def obey() -> None:
        heard.get()
        stop.set()

    threading.Thread(target=obey, name="signals", daemon=True).start()


def stop_with_supervisor(stop: threading.Event, go: threading.Event | None = None) -> None:
    """In a child of the supervisor: set `stop` when the lifeline breaks, which is its standard input.

    The first word that comes down that line sets `go`.
    """

    def watch() -> None:
        # The file descriptor itself: a daemon thread inside sys.stdin holds a lock that the interpreter needs to exit.
        while os.read(0, 1):
            if go is not None:
                go.set()
        stop.set()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


@contextmanager
def ended_at_once(stop: threading.Event, tidy: Callable[[], None]) -> Iterator[None]:
    """Within the block the process ends as soon as `stop` is set, whatever it is doing, after a call of `tidy`.

    For a start that holds no work yet, and is long because of libraries that nobody can interrupt: their loading, the
    conversion of a network. An exception in the main thread would wait for them, and unwind through half a library.
    """
    door, over = threading.Lock(), threading.Event()

    def watch() -> None:
        while not stop.wait(_LOOK_S):
            if over.is_set():
                return
        # Whoever has the lock first: what comes after the block is never cut short.
        with door:
            if not over.is_set():
                tidy()
                log.info("stopped_while_starting")
                os._exit(Ending.DONE)

    threading.Thread(target=watch, name="impatience", daemon=True).start()
    try:
        yield
    finally:
        with door:
            over.set()
