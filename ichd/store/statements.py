"""The few statements that workers send all day, a transaction each.

With PostgreSQL they go to the driver as it takes them. SQLAlchemy finds the compiled text, the parameters and the types
of the answer anew at each execution, and sets a connection of the pool up anew for each: together that takes a worker
longer than the driver, and as long as the server. Pool and liveness stay SQLAlchemy's. With SQLite, where the disk and
the one writer's lock take the time, the usual road does.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import BindParameter, Dialect, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

from ichd.store.transaction import stating, translated

_Statement = Select[*tuple[Any, ...]] | UpdateBase


class Statements:
    """Of one engine, for any number of threads. What is needed to send each is kept for good: let there be few.

    Every method raises Transient where the database does not answer; what was written may have been committed all the
    same.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._to_driver = engine.dialect.name == "postgresql"
        self._texts: dict[_Statement, _DriverText] = {}

    def row(
        self, statement: _Statement, facts: Mapping[str, Any], *, writes: bool = True, awaited: bool = True
    ) -> dict[str, Any] | None:
        """The only row of its answer, by the names of its columns; None where there is none.

        `writes` and `awaited` are told to SQLite (see `stating`).
        """
        if self._to_driver:
            text = self._text(statement)
            with self._sent(text, facts) as cursor:
                found = cursor.fetchone()
            return None if found is None else text.named(found)
        with stating(self._engine, writes=writes, awaited=awaited) as connection:
            row = connection.execute(statement, facts).one_or_none()
        return None if row is None else dict(row._mapping)

    def change(self, statement: UpdateBase, facts: Mapping[str, Any]) -> int:
        """How many rows it changed."""
        if self._to_driver:
            with self._sent(self._text(statement), facts) as cursor:
                return int(cursor.rowcount)
        with stating(self._engine) as connection:
            return connection.execute(statement, facts).rowcount

    def _text(self, statement: _Statement) -> "_DriverText":
        known = self._texts.get(statement)
        if known is None:
            known = self._texts[statement] = _DriverText(statement, self._engine.dialect)
        return known

    @contextmanager
    def _sent(self, text: "_DriverText", facts: Mapping[str, Any]) -> Iterator[Any]:
        """The driver's cursor with the answer; the transaction is over."""
        values, error_type = text.values(facts), self._engine.dialect.loaded_dbapi.Error
        with translated():
            try:
                with self._autocommitted() as connection, connection.cursor() as cursor:
                    cursor.execute(text.sql, values)
                    yield cursor
            except error_type as error:
                raise DBAPIError.instance(text.sql, None, error, error_type, dialect=self._engine.dialect) from error

    @contextmanager
    def _autocommitted(self) -> Iterator[Any]:
        """A driver's connection out of the pool, which goes back as it came, or not at all."""
        pooled = self._engine.raw_connection()
        connection: Any = pooled.driver_connection
        try:
            connection.autocommit = True
            yield connection
        finally:
            if _is_idle(connection):
                connection.autocommit = False
                pooled.close()
            else:
                # Broken, or left in the middle of an answer.
                pooled.invalidate()


def _is_idle(connection: Any) -> bool:
    from psycopg.pq import TransactionStatus  # only where there is a PostgreSQL need there be a driver

    return bool(connection.pgconn.transaction_status == TransactionStatus.IDLE)


class _DriverText:
    """A statement for psycopg, and how values become the driver's and a row becomes ours.

    Values that the statement itself brings are written out in it. As parameters they would be unknown to a plan that is
    made once for all: for any LIMIT at all the server takes that to be dear, and plans anew at each execution.
    """

    def __init__(self, statement: _Statement, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        binds: dict[str, BindParameter[Any]] = {name: bind for bind, name in compiled.bind_names.items()}
        written = {name: _literal(bind, dialect) for name, bind in binds.items() if not bind.required}
        self._writers = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect)
            for name, bind in binds.items()
            if bind.required
        }
        self._readers = [
            (str(name), column.type.dialect_impl(dialect).result_processor(dialect, None))
            for name, column in statement.exported_columns.items()
        ]
        self.sql = str(compiled) % (written | {name: f"%({name})s" for name in self._writers})

    def values(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """By name, as the driver takes them."""
        return {name: facts[name] if write is None else write(facts[name]) for name, write in self._writers.items()}

    def named(self, row: tuple[Any, ...]) -> dict[str, Any]:
        """A row as SQLAlchemy would give it."""
        return {n: value if read is None else read(value) for (n, read), value in zip(self._readers, row, strict=True)}


def _literal(bind: BindParameter[Any], dialect: Dialect) -> str:
    if bind.value is None:
        return "NULL"
    write = bind.type.dialect_impl(dialect).literal_processor(dialect)
    if write is None:
        raise TypeError(f"{bind.type!r} can't be written out")
    return write(bind.value)
