"""Whether a connection that comes from the pool still has its server, without asking the server.

A ping before each transaction costs a way there and back: with a server on the same machine, a quarter of a claim. But
a server that went away, or that told its sessions to go, has said so, and what it said waits in the socket; between
statements nothing else does. So an empty socket is a connection as it was, for as long as nobody can have vanished
without a word. After a longer silence, and where there is something in the socket, the server is asked.
"""

import select
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

if TYPE_CHECKING:
    from ichd.store.wire import Wire

#: A machine or a network that dies says nothing. Whoever meets that within this time meets a Transient error, as in the
#: middle of a transaction.
_TRUSTED_S = 5.0
#: A server that has nothing to do but to answer needs no longer for it.
_PING_S = 5.0
_LAST_USE = "ichd_last_use"


def watch_liveness(engine: Engine) -> None:
    """Have the pool of a PostgreSQL engine replace a connection that is gone before anybody begins work on it."""

    @event.listens_for(engine, "checkout")
    def look(connection: Any, entry: ConnectionPoolEntry, _proxy: object) -> None:
        idle_s = time.monotonic() - entry.info.get(_LAST_USE, time.monotonic())
        if idle_s < _TRUSTED_S and not _has_word(connection):
            return
        try:
            with connection.answering_within(_PING_S):
                engine.dialect.do_ping(connection)
        except (engine.dialect.loaded_dbapi.Error, DBAPIError) as error:
            # The pool drops it, and takes another one.
            raise DisconnectionError from error

    @event.listens_for(engine, "checkin")
    def note(_connection: object, entry: ConnectionPoolEntry) -> None:
        entry.info[_LAST_USE] = time.monotonic()


def _has_word(connection: "Wire") -> bool:
    """Whether the server said something unasked, or has closed its end."""
    socket = select.poll()
    socket.register(connection.fileno(), select.POLLIN)
    return bool(socket.poll(0))
