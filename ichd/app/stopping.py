"""How a daemon hears that it shall stop: by a signal, or by the end of its supervisor."""

import os
import signal
import threading
from queue import SimpleQueue


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
