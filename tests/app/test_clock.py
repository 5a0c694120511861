"""What roles and commands write to the database, or look for there, goes by its clock and not by this machine's."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from ichd.app.clock import clock_of
from ichd.app.trail import RoleTrail
from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.reason import Reason
from ichd.settings import Settings
from ichd.store.audit import Audit
from ichd.store.engine import migrate
from ichd.store.spool import Spool
from ichd.store.tables import JobRow
from ichd.store.transaction import reading
from tests.cli.test_main import ichd
from tests.databases import own_postgresql
from tests.peers.clock_ahead import url_ahead
from tests.store.house import STUDY, House, house_on

AHEAD = timedelta(hours=3)
#: On a machine that does other work beside.
_NEAR = timedelta(minutes=2)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with own_postgresql() as server:
        migrate(server.url)
        yield url_ahead(server, 3)


@pytest.fixture
def migrated_url(url: str) -> str:
    """In place of both databases: SQLite has no clock."""
    return url


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    return house_on(engine, Spool(tmp_path / "spool"), now=clock_of(engine)())


@pytest.fixture
def home(url: str, tmp_path: Path) -> Path:
    """A folder in which a person on this machine types."""
    (tmp_path / "ichd.toml").write_text(f'[database]\nurl = "{url}"\n[spool]\nurl = "{tmp_path / "spool"}"\n')
    return tmp_path


def is_ahead(moment: datetime) -> bool:
    return abs(moment - datetime.now(UTC) - AHEAD) < _NEAR


def test_a_role_tells_the_trail_of_its_start_by_the_databases_clock(engine: Engine) -> None:
    RoleTrail(engine, Settings(), "worker", clock=clock_of(engine)).started()
    assert all(is_ahead(entry.at) for entry in Audit(engine).read(limit=10))


def test_since_an_hour_is_an_hour_of_the_databases_clock(engine: Engine, home: Path) -> None:
    trail, now = Audit(engine), clock_of(engine)()
    for name, age in (("early", timedelta(hours=2)), ("late", timedelta(0))):
        trail.record(at=now - age, event=AuditEvent.LOG_IN, outcome=AuditOutcome.SUCCESS, actor=name, subject={})

    asked = ichd("audit", "--since", "1h", "--event", "log_in", cwd=home)

    assert "late" in asked.stdout, asked.stderr
    assert "early" not in asked.stdout


def test_what_is_retried_is_due_now_by_the_databases_clock(house: House, home: Path) -> None:
    house.ready()
    house.studies.failed(house.claim(), Reason.MODEL_UNUSABLE, "no file", retry_at=None, now=house.now)

    retried = ichd("retry", STUDY, cwd=home)

    assert retried.returncode == 0, retried.stderr
    with reading(house.engine) as session:
        assert is_ahead(session.scalars(select(JobRow.run_at)).one())
