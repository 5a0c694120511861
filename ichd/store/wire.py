"""A connection to PostgreSQL over which nobody waits for ever.

A server that ends says so, and one that is slow ends a statement by itself. A network that loses every packet says
nothing: TCP gives up on it after a quarter of an hour, on an idle connection after two hours. A proxy that was cut off
from its server still acknowledges all that it is sent, and TCP is content. So TCP is told to look sooner, at both ends,
and each statement has a clock of ours.
"""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg import Connection, OperationalError
from sqlalchemy import Dialect, Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from ichd.store.transaction import BUSY_TIMEOUT_S

if TYPE_CHECKING:
    from psycopg.abc import PQGen

_Answer = TypeVar("_Answer")

#: A statement whose answer has not come by then will have none: the server itself ended it some seconds ago.
ANSWER_S = BUSY_TIMEOUT_S + 5.0
#: For libpq, in seconds: what a peer says nothing to, used or idle, is given up within half a minute.
_KEEPALIVE: Mapping[str, int] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
#: The same for what it does not acknowledge, in milliseconds. A server that takes a restored dump may stand still for
#: longer, its disk full of work, and not read on.
_UNACKNOWLEDGED_MS, _UNACKNOWLEDGED_BY_PATIENT_MS = 25_000, 300_000
#: For the server, which would keep the locks of a session that nobody can reach. Between two statements of ours there
#: is nothing to wait for: no transaction asks a bucket or a peer for anything.
_SESSION: Mapping[str, str] = {
    "lock_timeout": f"{BUSY_TIMEOUT_S}s",
    "statement_timeout": f"{BUSY_TIMEOUT_S}s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "10s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",
}


class Wire(Connection[Any]):
    """Psycopg's connection; a statement without an answer closes it, so that nobody else waits for the same one."""

    #: Seconds that a statement may wait; None for as long as TCP believes in the peer.
    answer_s: float | None = None

    def wait(self, gen: "PQGen[_Answer]", *args: Any, **kwargs: Any) -> _Answer:
        """All that psycopg waits for on an open connection it waits for here.

        Raises:
            OperationalError: there was no answer within `answer_s`. What was written may have been committed, or be yet
                when the network is mended.
        """
        return super().wait(gen if self.answer_s is None else self._within(gen, self.answer_s), *args, **kwargs)

    @contextmanager
    def answering_within(self, seconds: float) -> Iterator[None]:
        """Statements of the block have so many seconds instead."""
        usual, self.answer_s = self.answer_s, seconds
        try:
            yield
        finally:
            self.answer_s = usual

    def _within(self, gen: "PQGen[_Answer]", bound_s: float) -> "Generator[Any, Any, _Answer]":
        """The same steps; psycopg resumes them several times a second, also when nothing came."""
        gives_up_at = time.monotonic() + bound_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                # Before a look at the clock: a process that was stopped for an hour finds its answer waiting.
                wanted = gen.send(ready)
                if time.monotonic() > gives_up_at:
                    # No cancel: it would take the way that is silent. The server ends the statement without it.
                    self.close()
                    raise OperationalError(
                        f"no answer within {bound_s:g} s; look at network and proxies between here and PostgreSQL"
                    )
        except StopIteration as end:
            answer: _Answer = end.value
            return answer


def open_wire(arguments: Sequence[Any], options: Mapping[str, Any], *, answer_s: float | None) -> Wire:
    """Connect as psycopg does; what `options` say wins."""
    unacknowledged_ms = _UNACKNOWLEDGED_BY_PATIENT_MS if answer_s is None else _UNACKNOWLEDGED_MS
    connection = Wire.connect(*arguments, **{**_KEEPALIVE, "tcp_user_timeout": unacknowledged_ms, **options})
    connection.answer_s = answer_s
    return connection


def own_wire(engine: Engine) -> Wire:
    """A connection to listen on, for ever: not the pool's. Each statement is its own transaction."""
    arguments, options = engine.dialect.create_connect_args(engine.url)
    return open_wire(arguments, {"autocommit": True, **options}, answer_s=ANSWER_S)


def use_wires(engine: Engine, *, impatient: bool) -> None:
    """Have the pool of an engine open connections of this kind.

    `impatient` gives every statement the time that SQLite's writers have; a migration may take hours.
    """
    answer_s = ANSWER_S if impatient else None

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Dialect, _entry: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]) -> Wire:
        return open_wire(arguments, options, answer_s=answer_s)

    if not impatient:
        return

    @event.listens_for(engine, "connect")
    def configure(connection: Wire, _entry: ConnectionPoolEntry) -> None:
        # Not as an option of the connection: that would take the place of the ones in the URL.
        connection.execute("; ".join(f"SET {name} = '{value}'" for name, value in _SESSION.items()))
        connection.commit()
