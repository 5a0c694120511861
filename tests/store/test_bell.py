"""The bell of the queue: it rings for whoever is meant, when the transaction has committed, and after a restart too."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, text

from ichd.domain.job import RetryPolicy
from ichd.store.bell import JobBell, has_bell
from ichd.store.engine import migrate, open_database
from tests.databases import own_postgresql
from tests.store.house import LEASE_S, House

_PATIENCE_S = 60
#: That any may have come.
ALL = "all"

only_postgresql = pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)


class Heard:
    """What was rung, in its order."""

    def __init__(self) -> None:
        self._rung: queue.Queue[str | None] = queue.Queue()

    def ring(self, destination: str | None) -> None:
        self._rung.put(destination)

    def ring_all(self) -> None:
        self._rung.put(ALL)

    def next(self) -> str | None:
        return self._rung.get(timeout=_PATIENCE_S)

    @property
    def nothing(self) -> bool:
        return self._rung.empty()


@contextmanager
def listening(engine: Engine) -> Iterator[Heard]:
    heard = Heard()
    bell = JobBell(engine, ring=heard.ring, ring_all=heard.ring_all)
    bell.start()
    try:
        yield heard
    finally:
        bell.stop()


@only_postgresql
def test_readings_and_deliveries_ring_for_those_who_take_them(house: House) -> None:
    with listening(house.engine) as heard:
        assert heard.next() == ALL, "nobody knows what came before"
        house.ready()
        assert heard.next() is None
        house.analyse("pacs", "archive")
        assert {heard.next(), heard.next()} == {"pacs", "archive"}


@only_postgresql
def test_a_job_that_comes_back_rings_again(house: House) -> None:
    house.ready()
    with listening(house.engine) as heard:
        assert heard.next() == ALL
        house.queue.release(house.claim(), now=house.now)
        assert heard.next() is None
        house.claim()
        house.wait(LEASE_S + 1)
        house.studies.reap(now=house.now, retry=RetryPolicy())
        assert heard.next() is None


@only_postgresql
def test_the_bell_rings_with_the_commit_and_not_before(house: House) -> None:
    house.ready()
    with listening(house.engine) as heard, house.engine.connect() as connection:
        assert heard.next() == ALL
        connection.execute(text("UPDATE job SET state = 'queued'"))
        connection.rollback()
        connection.execute(text("UPDATE job SET state = 'queued', destination = 'later'"))
        connection.commit()
        assert heard.next() == "later", "what was rolled back did not ring"


def test_a_bell_that_lost_its_server_rings_for_everybody_once_it_is_back() -> None:
    with own_postgresql() as server:
        migrate(server.url)
        engine = open_database(server.url)
        with listening(engine) as heard:
            assert heard.next() == ALL
            server.restart()
            assert heard.next() == ALL
            with engine.begin() as connection:
                connection.execute(text("NOTIFY ichd_jobs, 'pacs'"))
            assert heard.next() == "pacs"
        engine.dispose()


@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
def test_sqlite_has_no_bell_and_nobody_waits_for_one(engine: Engine) -> None:
    threads = threading.active_count()
    with listening(engine) as heard:
        assert not has_bell(engine)
        assert threading.active_count() == threads
        assert heard.nothing
