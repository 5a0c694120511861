"""Transactions: one for reading, one for writing, and database trouble in our own words."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine, Insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, InterfaceError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Session

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.store.durability import UNAWAITED

#: Execution option that tells an SQLite connection how to begin.
BEGIN_MODE = "ichd_begin_mode"
#: Execution option of an SQLite engine: the lock that its threads take before they write.
WRITER_LOCK = "ichd_writer_lock"
#: How long a writer waits for others. Our transactions last milliseconds, a checkpoint on a slow disk seconds.
BUSY_TIMEOUT_S = 15


#: What a database says to a wrong statement or value. All its other words are about itself: locked, full, damaged.
_OUR_DEFECTS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session on one consistent view of the database (SQLite) or of each statement (PostgreSQL).

    Raises:
        Transient: the database does not answer.
    """
    with translated(), Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A session that commits at the end, or rolls everything back.

    SQLite takes its write lock at once: a transaction that reads first and asks for the lock later is refused without
    waiting when another process wrote in between.

    Raises:
        Transient: the database does not answer.
    """
    with _turn(engine), translated(), Session(engine, expire_on_commit=False) as session, session.begin():
        session.connection(execution_options={BEGIN_MODE: "IMMEDIATE"})
        yield session


@contextmanager
def stating(engine: Engine, *, writes: bool = True, awaited: bool = True) -> Iterator[Connection]:
    """A connection for one statement, which is its own transaction, without the object mapper.

    PostgreSQL commits it as it answers: one way there and back, where BEGIN and COMMIT would make it three. Where it is
    not `awaited` it holds `Unawaited`, and SQLite is told so here.

    Raises:
        Transient: the database does not answer. What was written may have been committed all the same.
    """
    if engine.dialect.name == "postgresql":
        with translated(), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection
        return
    mode = "IMMEDIATE" if writes else "DEFERRED"
    with (
        _turn(engine) if writes else nullcontext(),
        translated(),
        engine.connect().execution_options(**{BEGIN_MODE: mode, UNAWAITED: not awaited}) as connection,
        connection.begin(),
    ):
        yield connection


class RowWriter:
    """Transactions without the object mapper, one at a time and from any thread: for the hot path.

    A session costs more than a row, and so does a connection that is taken from the pool and given back. SQLite's is
    kept for the next time, since it can't go stale; PostgreSQL's may have lost its server meanwhile, which the pool
    would notice.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._keeps = engine.dialect.name == "sqlite"
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection whose transaction is committed at the end, or rolled back as a whole.

        Raises:
            Transient: the database does not answer.
        """
        with _turn(self._engine), translated():
            connection, self._connection = self._connection or self._connect(), None
            with ExitStack() as unless_kept:
                unless_kept.callback(connection.close)
                with connection.begin():
                    yield connection
                if self._keeps:
                    self._connection = connection
                    unless_kept.pop_all()

    def _connect(self) -> Connection:
        return self._engine.connect().execution_options(**{BEGIN_MODE: "IMMEDIATE"})


@contextmanager
def _turn(engine: Engine) -> Iterator[None]:
    """Let the threads of one process write to SQLite one after the other.

    Left to SQLite they would poll for its lock with growing sleeps: of 16 threads some waited over a second for
    transactions of four milliseconds. PostgreSQL's engine has no such lock.
    """
    lock: Lock | None = engine.get_execution_options().get(WRITER_LOCK)
    if lock is None:
        yield
        return
    if not lock.acquire(timeout=BUSY_TIMEOUT_S):
        raise Transient(Reason.STORE_UNAVAILABLE, "other threads of this process kept the database busy")
    try:
        yield
    finally:
        lock.release()


@contextmanager
def translated() -> Iterator[None]:
    """Name database trouble: locked too long, disk full, file damaged, server away, no connection free in the pool.

    Raises:
        Transient: instead of the driver's error.
    """
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        if isinstance(error, _OUR_DEFECTS):
            raise
        # The driver's own words only: SQLAlchemy's message would repeat the statement and its values.
        raise Transient(Reason.STORE_UNAVAILABLE, " ".join(str(error.orig).split())) from error
    except PoolTimeoutError as error:
        raise Transient(Reason.STORE_UNAVAILABLE, "all database connections are in use") from error


def insert_if_new(session: Session, table: type[DeclarativeBase], values: dict[str, Any]) -> int | None:
    """Insert a row and return its id; None where a unique constraint says that the row is already there.

    On PostgreSQL this waits for another transaction that is inserting the same row.
    """
    return session.execute(_insert(session, table, values).returning(table.id)).scalar_one_or_none()  # type: ignore[attr-defined]


def insert_link(session: Session, table: type[DeclarativeBase], values: dict[str, Any]) -> None:
    """Insert a row of a link table unless it is already there."""
    session.execute(_insert(session, table, values))


def _insert(session: Session, table: type[DeclarativeBase], values: dict[str, Any]) -> Insert:
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table).values(values).on_conflict_do_nothing()
    return sqlite.insert(table).values(values).on_conflict_do_nothing()
