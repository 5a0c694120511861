"""The bell of the queue: PostgreSQL says when a transaction that brought jobs has committed (migration 0004).

Only a bell: whoever hears it asks the queue. One that was missed costs the time until the next poll, so that nothing
depends on its being heard. SQLite has none.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Engine

if TYPE_CHECKING:
    from ichd.store.wire import Wire

log = structlog.get_logger(__name__)

_CHANNEL = "ichd_jobs"
#: How soon a stop is seen; what is said meanwhile is heard at once.
_LISTEN_S = 0.5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


class JobBell:
    """A thread that listens on a connection of its own, from `start` to `stop`."""

    def __init__(self, engine: Engine, *, ring: Callable[[str | None], None], ring_all: Callable[[], None]) -> None:
        """`ring` is told the destination of a job, None for a reading; `ring_all` that any may have come."""
        self._engine = engine
        self._ring = ring
        self._ring_all = ring_all
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="job-bell", daemon=True)

    def start(self) -> None:
        """Begin to listen, where the database can ring."""
        if has_bell(self._engine):
            self._thread.start()

    def stop(self) -> None:
        """End it, within a second; where the server says nothing, as soon as that is given up."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        dialect = self._engine.dialect
        pause_s, away = _FIRST_PAUSE_S, False
        while not self._stopping.is_set():
            try:
                with own_connection(self._engine) as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    if away:
                        log.info("job_bell_heard_again")
                    pause_s, away = _FIRST_PAUSE_S, False
                    # Nobody heard what was said before.
                    self._ring_all()
                    self._listen(connection)
            except dialect.loaded_dbapi.Error as error:
                if not away:
                    log.warning("job_bell_lost", detail=" ".join(str(error).split()), mend="workers poll meanwhile")
                away = True
            self._stopping.wait(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _listen(self, connection: "Wire") -> None:
        while not self._stopping.is_set():
            for said in connection.notifies(timeout=_LISTEN_S):
                self._ring(said.payload or None)


def own_connection(engine: Engine) -> "Wire":
    """A connection of PostgreSQL to listen on, for ever: not the pool's. Each statement is its own transaction."""
    # Only where there is a PostgreSQL need there be a driver.
    from ichd.store.wire import own_wire

    return own_wire(engine)


def has_bell(engine: Engine) -> bool:
    """Whether this database says when a job comes."""
    return engine.dialect.name == "postgresql"
