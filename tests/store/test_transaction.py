"""Transactions of the hot path: whole or not at all, and trouble costs no more than the one that met it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, event, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import QueuePool

from ichd.domain.errors import Transient
from ichd.store.engine import open_database
from ichd.store.tables import DestinationRow
from ichd.store.transaction import RowWriter, reading


@pytest.fixture
def writer(engine: Engine) -> RowWriter:
    return RowWriter(engine)


def add(connection: Connection, name: str) -> None:
    row = {"name": name, "failures": 0, "closed_until": datetime.now(UTC)}
    connection.execute(insert(DestinationRow).values(row))


def names(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return sorted(session.scalars(select(DestinationRow.name)))


def in_use(engine: Engine) -> int:
    """Connections that were taken from the pool and not given back."""
    assert isinstance(engine.pool, QueuePool)
    return engine.pool.checkedout()


@contextmanager
def counted(engine: Engine, name: str) -> Iterator[list[object]]:
    """What the pool tells while the block runs."""
    told: list[object] = []

    def tell(*arguments: object) -> None:
        told.append(arguments)

    event.listen(engine, name, tell)
    try:
        yield told
    finally:
        event.remove(engine, name, tell)


def test_a_transaction_is_committed_at_its_end(writer: RowWriter, engine: Engine) -> None:
    with writer.transaction() as connection:
        add(connection, "a")
        add(connection, "b")
        assert names(engine) == []
    assert names(engine) == ["a", "b"]


def test_sqlite_keeps_its_connection_and_postgresql_gives_it_back(writer: RowWriter, engine: Engine) -> None:
    keeps = engine.dialect.name == "sqlite"
    with counted(engine, "checkout") as taken:
        for name in ("a", "b", "c"):
            with writer.transaction() as connection:
                add(connection, name)
            assert in_use(engine) == keeps
    assert len(taken) == (1 if keeps else 3)


class OurDefectError(Exception):
    """Somebody in the middle of a transaction fails."""


def _defect(_connection: Connection) -> None:
    raise OurDefectError


def _twice(connection: Connection) -> None:
    add(connection, "half")


def _away(connection: Connection) -> None:
    """The server ends the session; SQLite finds no table, which is trouble with its file."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    else:
        connection.execute(text("SELECT * FROM nowhere"))


@pytest.mark.parametrize(
    ("fail", "error"),
    [(_defect, OurDefectError), (_twice, IntegrityError), (_away, Transient)],
    ids=["defect", "refused", "away"],
)
def test_a_failed_transaction_leaves_nothing_and_the_next_one_works(
    writer: RowWriter, engine: Engine, fail: Callable[[Connection], None], error: type[Exception]
) -> None:
    def half() -> None:
        with writer.transaction() as connection:
            add(connection, "half")
            fail(connection)

    with writer.transaction() as connection:
        add(connection, "before")
    with pytest.raises(error):
        half()
    assert in_use(engine) == 0, "who knows what state it is in"
    with writer.transaction() as connection:
        add(connection, "after")
    assert names(engine) == ["after", "before"]


def test_a_connection_that_was_lost_while_nobody_used_it_is_noticed(writer: RowWriter, engine: Engine) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no server to lose")
    with writer.transaction() as connection:
        process = connection.scalar(text("SELECT pg_backend_pid()"))
    other = open_database(engine.url.render_as_string(hide_password=False))
    with other.connect() as connection:
        # Waits for its end, five seconds at most.
        assert connection.scalar(text("SELECT pg_terminate_backend(:process, 5000)"), {"process": process})
    other.dispose()
    with writer.transaction() as connection:
        add(connection, "after")
    assert names(engine) == ["after"]


def test_any_thread_may_write(writer: RowWriter, engine: Engine) -> None:
    def write(number: int) -> None:
        with writer.transaction() as connection:
            add(connection, f"{number:03d}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(40)))
    assert names(engine) == [f"{number:03d}" for number in range(40)]
