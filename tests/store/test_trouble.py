"""Trouble of a PostgreSQL server is transient: nothing is lost, nothing is doubled, and the next try works.

Each is provoked on a server of our own, which is stopped and started meanwhile.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, func, insert, make_url, select, text, update
from sqlalchemy.orm import Session

from ichd.domain.errors import LeaseLost, Transient
from ichd.domain.job import JobState, RetryPolicy
from ichd.domain.study import StudyState
from ichd.store.engine import migrate, open_database
from ichd.store.queue import Queue
from ichd.store.spool import Spool
from ichd.store.tables import DestinationRow, JobRow
from ichd.store.transaction import reading, writing
from tests.databases import empty_postgresql, own_postgresql
from tests.peers.postgresql import PostgresqlServer
from tests.peers.proxy import Proxy, running_proxy
from tests.store.house import LEASE_S, NOON, STUDY, House, house_on, read_record

_PATIENCE_S = 60
#: As the protocol says it; "READ COMMITTED" is another thing.
COMMIT = b"COMMIT\0"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with own_postgresql() as running:
        migrate(running.url)
        yield running


@pytest.fixture
def house(server: PostgresqlServer, tmp_path: Path) -> Iterator[House]:
    """On that server, empty."""
    empty_postgresql(server.url)
    engine = open_database(server.url)
    yield house_on(engine, Spool(tmp_path / "spool"))
    engine.dispose()


def add(session: Session, *names: str) -> None:
    rows = [{"name": name, "failures": 0, "closed_until": NOON} for name in names]
    session.execute(insert(DestinationRow), rows)


def touch(session: Session, name: str) -> None:
    session.execute(
        update(DestinationRow).where(DestinationRow.name == name).values(failures=DestinationRow.failures + 1)
    )


def failures(engine: Engine) -> dict[str, int]:
    with reading(engine) as session:
        return {row.name: row.failures for row in session.scalars(select(DestinationRow))}


def test_a_connection_that_a_restarted_server_dropped_costs_no_error(house: House, server: PostgresqlServer) -> None:
    house.ready()
    server.restart()
    assert house.claim().study_uid == STUDY


def test_a_transaction_in_which_the_server_is_restarted_leaves_nothing(house: House, server: PostgresqlServer) -> None:
    def half() -> None:
        with writing(house.engine) as session:
            add(session, "half")
            server.restart()
            add(session, "rest")

    with pytest.raises(Transient):
        half()
    assert failures(house.engine) == {}


def test_a_server_that_is_away_is_transient_and_its_return_is_all_it_takes(
    house: House, server: PostgresqlServer
) -> None:
    house.ready()
    server.crash()
    try:
        with pytest.raises(Transient):
            house.try_claim()
        with pytest.raises(Transient):
            house.queue.is_due(now=house.now)
    finally:
        server.start()
    assert house.claim().attempt == 1


def test_of_two_in_a_deadlock_one_goes_on(house: House) -> None:
    with writing(house.engine) as session:
        add(session, "a", "b")
    both_hold_one = threading.Barrier(2)
    outcomes: list[str] = []

    def cross(first: str, second: str) -> None:
        try:
            with writing(house.engine) as session:
                touch(session, first)
                both_hold_one.wait(_PATIENCE_S)
                touch(session, second)
        except Transient as error:
            outcomes.append("deadlock" if "deadlock" in error.detail else error.detail)
        else:
            outcomes.append("committed")

    _side_by_side(lambda: cross("a", "b"), lambda: cross("b", "a"))
    assert sorted(outcomes) == ["committed", "deadlock"]
    assert failures(house.engine) == {"a": 1, "b": 1}


def test_a_serialization_failure_is_transient(house: House) -> None:
    with writing(house.engine) as session:
        add(session, "a")
    strict = house.engine.execution_options(isolation_level="SERIALIZABLE")

    def overtaken() -> None:
        with writing(strict) as session:
            assert session.scalar(select(DestinationRow.failures)) == 0
            with writing(house.engine) as other:
                touch(other, "a")
            touch(session, "a")

    with pytest.raises(Transient, match="serialize"):
        overtaken()
    assert failures(house.engine) == {"a": 1}


def test_a_server_that_became_a_standby_is_transient(house: House) -> None:
    house.ready()
    with _default(house.engine, "default_transaction_read_only", "on"):
        other = open_database(house.engine.url.render_as_string(hide_password=False))
        with pytest.raises(Transient, match="read-only"):
            Queue(other).claim(owner="a", lease_s=LEASE_S, now=house.now)
        other.dispose()
    assert house.claim().attempt == 1


def test_too_many_connections_are_transient(house: House, server: PostgresqlServer) -> None:
    house.ready()
    server.stop()
    server.start("-c max_connections=3 -c superuser_reserved_connections=0 -c max_wal_senders=0")
    try:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(house.engine.connect())
            with pytest.raises(Transient, match="too many clients"):
                house.try_claim()
        assert house.claim().attempt == 1
    finally:
        house.engine.dispose()
        server.restart()


@pytest.fixture
def behind_proxy(house: House, server: PostgresqlServer, tmp_path: Path) -> Iterator[tuple[House, Proxy]]:
    """The same house, as somebody sees it behind a network that loses answers."""
    with running_proxy(server.port) as proxy:
        engine = open_database(make_url(server.url).set(port=proxy.port).render_as_string(hide_password=False))
        yield house_on(engine, Spool(tmp_path / "spool")), proxy
        engine.dispose()


def test_a_claim_whose_answer_was_lost_is_found_when_its_lease_runs_out(
    house: House, behind_proxy: tuple[House, Proxy]
) -> None:
    far, proxy = behind_proxy
    house.ready()
    far.now = house.now
    proxy.lose_answer_to = b"UPDATE job"
    with pytest.raises(Transient):
        far.try_claim("far")
    assert proxy.lost == 1
    assert states(house.engine) == {JobState.LEASED: 1}, "it was done, and nobody knows"
    house.wait(LEASE_S + 1)
    assert house.studies.reap(now=house.now, retry=RetryPolicy()) == 1
    house.analyse()
    assert house.summary().state is StudyState.REPORTED


def test_an_end_whose_answer_was_lost_is_not_repeated(house: House, behind_proxy: tuple[House, Proxy]) -> None:
    far, proxy = behind_proxy
    house.ready()
    far.now = house.now
    job = far.claim("far")
    far.studies.begin_analysis(job, now=far.now)

    def finish() -> None:
        far.studies.finish_analysis(job, record=read_record(), destinations=["pacs"], now=far.now)

    proxy.lose_answer_to = COMMIT
    with pytest.raises(Transient):
        finish()
    assert proxy.lost == 1
    with pytest.raises(LeaseLost):
        finish()
    with pytest.raises(LeaseLost):
        far.queue.extend(job, lease_s=LEASE_S, now=far.now)
    assert states(house.engine) == {JobState.DONE: 1, JobState.QUEUED: 1}
    house.deliver()
    assert house.summary().state is StudyState.REPORTED


@pytest.mark.parametrize(("committed", "jobs"), [(False, {}), (True, {JobState.QUEUED: 1})], ids=["undone", "done"])
def test_a_study_whose_closing_was_lost_on_the_way_has_one_job(
    house: House, behind_proxy: tuple[House, Proxy], *, committed: bool, jobs: dict[JobState, int]
) -> None:
    far, proxy = behind_proxy
    house.receive(1, 2)
    far.now = house.now

    def made_a_job(*arguments: object) -> None:
        if "INSERT INTO job" in str(arguments[2]):
            proxy.lose_answer_to = COMMIT

    if committed:
        event.listen(far.engine, "after_cursor_execute", made_a_job)
    else:
        proxy.lose_answer_to = b"INSERT INTO job"
    with pytest.raises(Transient):
        far.close()
    assert proxy.lost == 1
    assert states(house.engine) == jobs
    assert far.close() == ([] if committed else [STUDY])
    assert states(house.engine) == {JobState.QUEUED: 1}


def states(engine: Engine) -> dict[JobState, int]:
    """How many jobs stand where."""
    with reading(engine) as session:
        rows = session.execute(select(JobRow.state, func.count()).group_by(JobRow.state))
        return {row[0]: row[1] for row in rows}


@contextmanager
def _default(engine: Engine, name: str, value: str) -> Iterator[None]:
    """A default of the database, for sessions that begin meanwhile."""
    database = engine.url.database
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {database} SET {name} = {value}"))
    try:
        yield
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"ALTER DATABASE {database} RESET {name}"))


def _side_by_side(*acts: Callable[[], None]) -> None:
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE_S)
