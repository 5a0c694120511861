"""The database's clock is the one clock: whatever this machine's says, and while the server is away."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from ichd.app.clock import clock_of, utc_now
from ichd.domain.errors import Transient
from ichd.store import database_clock
from ichd.store.database_clock import DatabaseClock
from ichd.store.engine import open_database
from tests.databases import own_postgresql
from tests.peers.clock_ahead import set_ahead, url_ahead
from tests.peers.postgresql import PostgresqlServer

#: On a machine that does other work beside.
_NEAR = timedelta(seconds=5)


@pytest.fixture
def server() -> Iterator[PostgresqlServer]:
    with own_postgresql() as running:
        yield running


def engine_ahead(server: PostgresqlServer, hours: int) -> Engine:
    return open_database(url_ahead(server, hours))


def differs(clock: DatabaseClock) -> timedelta:
    return clock() - datetime.now(UTC)


def test_it_is_the_servers_time_and_not_ours(server: PostgresqlServer) -> None:
    engine = engine_ahead(server, 3)
    clock = DatabaseClock(engine)
    assert clock().tzinfo is UTC
    assert abs(differs(clock) - timedelta(hours=3)) < _NEAR
    engine.dispose()


def test_it_goes_on_while_the_server_is_away_and_asks_again_afterwards(
    server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_ahead(server, 3)
    clock = DatabaseClock(engine)
    moments = [clock()]
    server.stop()
    monkeypatch.setattr(database_clock, "_SAMPLE_EVERY_S", 0.0)
    try:
        moments += [clock() for _ in range(3)]
        assert abs(differs(clock) - timedelta(hours=3)) < _NEAR
    finally:
        server.start()
    assert moments == sorted(moments)
    later = open_database(server.url)
    set_ahead(later, 5)
    later.dispose()
    deadline = datetime.now(UTC) + timedelta(seconds=60)
    while abs(differs(clock) - timedelta(hours=5)) > _NEAR and datetime.now(UTC) < deadline:
        time.sleep(0.01)
    assert abs(differs(clock) - timedelta(hours=5)) < _NEAR
    engine.dispose()


def test_without_a_server_there_is_no_time_to_begin_with(server: PostgresqlServer) -> None:
    engine = open_database(server.url)
    server.stop()
    try:
        with pytest.raises(Transient):
            DatabaseClock(engine)
    finally:
        server.start()
        engine.dispose()


def test_one_machine_has_its_own_clock_and_several_have_the_databases(engine: Engine) -> None:
    clock = clock_of(engine)
    assert (clock is utc_now) is (engine.dialect.name == "sqlite")
    assert abs(clock() - datetime.now(UTC)) < _NEAR
