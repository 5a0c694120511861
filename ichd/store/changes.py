"""Who shows the worklist is told that it may have changed: PostgreSQL rings (migration 0005), SQLite is looked at.

Only a hint, as often as it is due: whoever hears it looks at the list. A hint that is lost costs seconds, since one is
given from time to time whatever happens; so the images of a study that is being received are counted, too, which ring
no bell.
"""

import threading
import time
from collections.abc import Callable
from sqlite3 import Connection as SqliteConnection
from typing import cast

import structlog
from sqlalchemy import Engine

from ichd.store.bell import has_bell, own_connection

log = structlog.get_logger(__name__)

_CHANNEL = "ichd_worklist"
#: How soon a stop is seen, and how often SQLite is asked whether anybody has committed: it takes microseconds.
_TURN_S = 0.25
#: A hint is given at least so often.
_ANYWAY_S = 3.0
_PAUSE_S = 1.0


class ChangeWatch:
    """A thread from `start` to `stop`; `changed` is called in it."""

    def __init__(self, engine: Engine, changed: Callable[[], None]) -> None:
        self._engine = engine
        self._changed = changed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="change-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Let it end, soon; nobody waits for it."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def _run(self) -> None:
        watch = self._listen if has_bell(self._engine) else self._look
        away = False
        while not self._stopping.is_set():
            try:
                watch()
            except self._engine.dialect.loaded_dbapi.Error as error:
                if not away:
                    log.warning("worklist_watch_lost", detail=" ".join(str(error).split()), mend="it tries again")
                away = True
            # Whoever looks at the list now finds out, too, that the database is away, or that it is back.
            self._changed()
            self._stopping.wait(_PAUSE_S)

    def _listen(self) -> None:
        with own_connection(self._engine) as connection:
            connection.execute(f"LISTEN {_CHANNEL}")
            while not self._stopping.is_set():
                # Nobody heard what was said before; after that, this is the hint from time to time.
                self._changed()
                until = time.monotonic() + _ANYWAY_S
                while not self._stopping.is_set() and time.monotonic() < until:
                    for _ in connection.notifies(timeout=_TURN_S):
                        self._changed()

    def _look(self) -> None:
        connection = self._engine.raw_connection()
        try:
            database = cast(SqliteConnection, connection.driver_connection)
            seen, told_at = -1, 0.0
            while not self._stopping.is_set():
                # Commits by others than this connection, in this process or another.
                (version,) = database.execute("PRAGMA data_version").fetchone()
                if version != seen or time.monotonic() - told_at > _ANYWAY_S:
                    seen, told_at = version, time.monotonic()
                    self._changed()
                self._stopping.wait(_TURN_S)
        finally:
            connection.close()
