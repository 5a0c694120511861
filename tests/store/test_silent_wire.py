"""A wire to PostgreSQL that goes silent: whoever waits is told so, and once it is mended all go on.

The proxy between stalls as a cut-off one does: it acknowledges what it is sent, and passes nothing on. Bounds are
shortened here to a second; where there is none, a test waits in vain.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Engine, func, make_url, select, text
from typer.testing import CliRunner

from ichd.cli.main import app
from ichd.domain.errors import LeaseLost, Transient
from ichd.domain.job import RetryPolicy
from ichd.domain.study import StudyState
from ichd.store import liveness, wire
from ichd.store.arrivals import ArrivalKind
from ichd.store.bell import JobBell
from ichd.store.engine import migrate, open_database, open_patient_database
from ichd.store.spool import Spool
from ichd.store.tables import InstanceRow, JobRow
from ichd.store.transaction import BUSY_TIMEOUT_S, reading, writing
from tests.databases import empty_postgresql, own_postgresql
from tests.peers.postgresql import PostgresqlServer
from tests.peers.proxy import Proxy, running_proxy
from tests.store.house import LEASE_S, House, house_on, image, read_record

_PATIENCE_S = 60
_ANSWER_S = 1.0
#: As the protocol says it.
COMMIT = b"COMMIT\0"
_Result = TypeVar("_Result")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with own_postgresql() as running:
        migrate(running.url)
        yield running


@pytest.fixture
def near(server: PostgresqlServer, tmp_path: Path) -> Iterator[House]:
    """On that server, empty, by a wire on which nothing happens."""
    empty_postgresql(server.url)
    engine = open_database(server.url)
    yield house_on(engine, Spool(tmp_path / "spool"))
    engine.dispose()


@pytest.fixture
def proxy(server: PostgresqlServer) -> Iterator[Proxy]:
    with running_proxy(server.port) as running:
        yield running


@pytest.fixture
def far_url(server: PostgresqlServer, proxy: Proxy) -> str:
    """The same database behind the proxy."""
    url = make_url(server.url).set(port=proxy.port).update_query_dict({"connect_timeout": "2"})
    return url.render_as_string(hide_password=False)


@pytest.fixture
def far(near: House, far_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[House]:
    """The same house as somebody sees it behind the proxy, who has used his connection a moment ago."""
    monkeypatch.setattr(wire, "ANSWER_S", _ANSWER_S)
    engine = open_database(far_url)
    it = house_on(engine, Spool(tmp_path / "spool"), now=near.now)
    assert it.try_claim() is None
    yield it
    engine.dispose()


def in_time(act: Callable[[], _Result]) -> _Result:
    """What comes of it; a hang fails here, and does not keep the other tests."""
    came: Future[_Result] = Future()

    def run() -> None:
        try:
            came.set_result(act())
        except BaseException as error:  # noqa: BLE001 - raised again below
            came.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return came.result(_PATIENCE_S)


def transient(act: Callable[[], object]) -> str:
    with pytest.raises(Transient) as caught:
        in_time(act)
    return caught.value.detail


def test_whoever_waits_is_told_and_goes_on_when_the_wire_is_mended(near: House, far: House, proxy: Proxy) -> None:
    near.ready()
    far.now = near.now
    job = far.claim("far")
    far.studies.begin_analysis(job, now=far.now)
    association_id = near.open_association()
    for act in (
        lambda: far.try_claim("other"),
        lambda: far.queue.is_due(now=far.now),
        lambda: far.queue.extend(job, lease_s=LEASE_S, now=far.now),
        lambda: far.studies.finish_analysis(job, record=read_record(), destinations=["pacs"], now=far.now),
        lambda: far.arrive(image(3), association_id=association_id),
        far.summary,
    ):
        in_time(lambda: far.queue.is_due(now=far.now))
        proxy.stall()
        assert f"no answer within {_ANSWER_S:g} s" in transient(act)
        proxy.flow()
    in_time(lambda: far.queue.extend(job, lease_s=LEASE_S, now=far.now))
    in_time(lambda: far.studies.finish_analysis(job, record=read_record(), destinations=["pacs"], now=far.now))
    near.deliver()
    assert near.summary().state is StudyState.REPORTED


def test_a_connection_that_was_idle_for_a_while_is_asked_in_bounded_time(
    far: House, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "_TRUSTED_S", 0.0)
    monkeypatch.setattr(liveness, "_PING_S", _ANSWER_S)
    proxy.stall()
    # Neither does a new connection come about.
    assert "timeout" in transient(far.try_claim)
    proxy.flow()
    assert in_time(far.try_claim) is None


@pytest.mark.parametrize("stalls", ["stall_with", "stall_behind"], ids=["committed-later", "committed"])
def test_an_image_whose_commit_is_in_doubt_is_there_once(near: House, far: House, proxy: Proxy, stalls: str) -> None:
    association_id = near.open_association()
    setattr(proxy, stalls, COMMIT)
    transient(lambda: far.arrive(image(1), association_id=association_id))
    assert len(instances(near.engine)) == (stalls == "stall_behind")
    proxy.flow()
    # The sender comes again; what was held back may get there before or after.
    assert in_time(lambda: far.arrive(image(1), association_id=association_id)) in set(ArrivalKind)
    (path,) = instances(near.engine)
    assert near.spool.locate(path).exists(), "the file of the row is that of the first try or of the second"


@pytest.mark.parametrize("stalls", ["stall_with", "stall_behind"], ids=["claimed-later", "claimed"])
def test_a_claim_in_doubt_comes_back_with_its_lease(near: House, far: House, proxy: Proxy, stalls: str) -> None:
    near.ready()
    far.now = near.now
    setattr(proxy, stalls, b"UPDATE job")
    transient(lambda: far.try_claim("far"))
    proxy.flow()
    eventually_leased(near.engine)
    near.wait(LEASE_S + 1)
    assert near.studies.reap(now=near.now, retry=RetryPolicy()) == 1
    near.analyse()
    assert near.summary().state is StudyState.REPORTED


def test_an_end_that_is_committed_late_is_not_repeated(near: House, far: House, proxy: Proxy) -> None:
    near.ready()
    far.now = near.now
    job = far.claim("far")
    far.studies.begin_analysis(job, now=far.now)

    def finish() -> None:
        far.studies.finish_analysis(job, record=read_record(), destinations=["pacs"], now=far.now)

    proxy.stall_behind = COMMIT
    transient(finish)
    proxy.flow()
    with pytest.raises(LeaseLost):
        in_time(finish)
    near.deliver()
    assert near.summary().state is StudyState.REPORTED


def test_all_connections_of_the_pool_come_back(far: House, proxy: Proxy) -> None:
    most = 15
    together = threading.Barrier(most, timeout=_PATIENCE_S)

    def ask() -> int:
        with reading(far.engine) as session:
            session.execute(text("SELECT 1"))
            together.wait()
            return int(session.scalar(text("SELECT 2")) or 0)

    with ThreadPoolExecutor(most) as threads:
        assert sum(threads.map(lambda _: ask(), range(most))) == 2 * most
        together.reset()
        proxy.stall_behind = b"SELECT 2"
        asked = [threads.submit(ask) for _ in range(most)]
        assert all(isinstance(each.exception(_PATIENCE_S), Transient) for each in asked)
        proxy.flow()
        together.reset()
        assert sum(threads.map(lambda _: ask(), range(most))) == 2 * most


def test_a_statement_that_the_wire_does_not_take_is_given_up_as_well(far: House, proxy: Proxy) -> None:
    large = "x" * 50_000_000
    proxy.stall()

    def say() -> None:
        with reading(far.engine) as session:
            session.execute(text("SELECT length(:large)"), {"large": large})

    assert "no answer" in transient(say)


def test_status_says_that_there_is_no_answer(
    near: House, far: House, far_url: str, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    near.ready()
    config = tmp_path / "ichd.toml"
    config.write_text(f'[database]\nurl = "{far_url}"\n[spool]\nurl = "{near.spool.root}"\n')

    def status() -> BaseException | None:
        return CliRunner().invoke(app, ["--config", str(config), "status"]).exception

    for stall in (proxy.stall, lambda: setattr(proxy, "stall_with", b"FROM study")):
        assert in_time(status) is None
        stall()
        assert isinstance(in_time(status), Transient)
        proxy.flow()
    assert in_time(status) is None


def test_upkeep_waits_for_as_long_as_it_takes(far: House, far_url: str) -> None:
    patient = open_patient_database(far_url)
    sleep_on(patient, 3 * _ANSWER_S)
    assert "no answer" in transient(lambda: sleep_on(far.engine, 3 * _ANSWER_S))
    patient.dispose()


def sleep_on(engine: Engine, seconds: float) -> None:
    with reading(engine) as session:
        session.execute(select(func.pg_sleep(seconds)))


def test_the_server_ends_a_statement_before_its_answer_is_given_up() -> None:
    assert wire.ANSWER_S > BUSY_TIMEOUT_S


@pytest.mark.parametrize(
    ("open_engine", "query", "expected_s"),
    [
        (open_database, {}, (10, 25_000)),
        (open_patient_database, {}, (10, 300_000)),
        (open_database, {"keepalives_idle": "77", "tcp_user_timeout": "9000"}, (77, 9_000)),
    ],
    ids=["daemon", "upkeep", "url"],
)
def test_tcp_is_told_to_look_for_a_peer_that_vanished_and_the_url_wins(
    server: PostgresqlServer,
    open_engine: Callable[[str], Engine],
    query: dict[str, str],
    expected_s: tuple[int, int],
) -> None:
    url = make_url(server.url).update_query_dict(query).render_as_string(hide_password=False)
    engine = open_engine(url)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=socket.dup(driver.fileno())) as end:
            idle_s = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            unacknowledged_ms = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    engine.dispose()
    assert (idle_s, unacknowledged_ms) == expected_s


def test_the_server_looks_for_us_too(near: House) -> None:
    with near.engine.connect() as connection:
        assert connection.scalar(text("SHOW tcp_keepalives_idle")) == "10"
        assert connection.scalar(text("SHOW tcp_user_timeout")) == "25000"


def test_what_a_session_behind_the_cut_had_locked_is_free_again(
    near: House, far_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    near.ready()
    monkeypatch.setattr(wire, "ANSWER_S", _ANSWER_S)
    monkeypatch.setattr(wire, "_SESSION", {**wire._SESSION, "idle_in_transaction_session_timeout": "2s"})
    engine = open_database(far_url)

    def lock_and_fall_silent() -> None:
        with writing(engine) as session:
            session.execute(select(JobRow).with_for_update()).all()
            proxy.stall()
            session.execute(text("SELECT 1"))

    transient(lock_and_fall_silent)
    with writing(near.engine) as session:
        assert len(session.execute(select(JobRow).with_for_update()).all()) == 1
    proxy.flow()
    engine.dispose()


def test_a_bell_can_be_stopped_while_nobody_answers(far: House, proxy: Proxy) -> None:
    waiting = threading.Event()
    bell = JobBell(far.engine, ring=lambda _: None, ring_all=waiting.set)
    proxy.stall_with = b"LISTEN"
    bell.start()
    in_time(lambda: until(lambda: proxy.stall_with is None))
    in_time(bell.stop)
    assert not waiting.is_set()


def eventually_leased(engine: Engine) -> None:
    """What was held back gets there when it gets there."""

    def is_leased() -> bool:
        with reading(engine) as session:
            return session.scalar(select(JobRow.owner)) is not None

    in_time(lambda: until(is_leased))


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.05)


def instances(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return list(session.scalars(select(InstanceRow.path)))
