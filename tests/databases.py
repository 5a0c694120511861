"""Both databases: every test that asks for `database_url`, `engine` or `house` runs on each.

A test to which the database makes no difference says so: `@ONE_DATABASE`.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url, text

from ichd.store.engine import migrate, open_database
from ichd.store.spool import Spool
from ichd.store.tables import Base
from tests.peers.postgresql import PostgresqlAbsent, PostgresqlServer, running_server
from tests.store.bucket_house import s3, site  # noqa: F401 - fixtures
from tests.store.house import House, house_on

BOTH = ("sqlite", "postgresql")

#: For what has nothing to do with the database, and would only take twice as long.
ONE_DATABASE = pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)


@contextmanager
def own_postgresql() -> Iterator[PostgresqlServer]:
    """A server that only this test, or these tests, have; they are skipped where there is no PostgreSQL."""
    # Not pytest's own folder: only root may enter that, and the server is not root.
    with tempfile.TemporaryDirectory(prefix="ichd-postgresql-") as parent, ExitStack() as stack:
        Path(parent).chmod(0o755)
        try:
            server = stack.enter_context(running_server(Path(parent) / "server"))
        except PostgresqlAbsent as absent:
            pytest.skip(str(absent))
        yield server


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A server for the session; each worker of a parallel run starts its own, in two seconds."""
    with own_postgresql() as server:
        yield server.url


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, without a schema."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ichd.db'}"
    server: str = request.getfixturevalue("postgresql_url")
    # A new database would be cleaner still, but takes half a second and 7 MB each.
    _execute(server, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return server


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "ichd.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_url: str) -> str:
    """A second database on the server, with the newest schema, to be emptied after use."""
    engine = open_database(postgresql_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE ichd"))
    engine.dispose()
    url = make_url(postgresql_url).set(database="ichd").render_as_string(hide_password=False)
    migrate(url)
    return url


@pytest.fixture(params=BOTH)
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with the newest schema and no rows."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "ichd.db")
        return f"sqlite:///{tmp_path / 'ichd.db'}"
    url: str = request.getfixturevalue("migrated_postgresql")
    empty_postgresql(url)
    return url


@pytest.fixture
def elsewhere_url(migrated_url: str, tmp_path: Path) -> Iterator[str]:
    """A second database of the same kind, empty and without a schema."""
    url = make_url(migrated_url)
    if url.get_backend_name() == "sqlite":
        yield f"sqlite:///{tmp_path / 'elsewhere.db'}"
        return
    server = open_database(migrated_url)
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE elsewhere"))
        yield url.set(database="elsewhere").render_as_string(hide_password=False)
        connection.execute(text("DROP DATABASE elsewhere WITH (FORCE)"))
    server.dispose()


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    """An open database with the newest schema."""
    engine = open_database(migrated_url)
    yield engine
    engine.dispose()


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    """The store's rooms around one database and one spool, with a clock that the test turns."""
    return house_on(engine, Spool(tmp_path / "spool"))


def empty_postgresql(url: str) -> None:
    """Remove all rows of a database with the newest schema."""
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    # As a replica of itself a session passes by the trigger that guards the audit trail.
    _execute(url, "SET session_replication_role = replica", f"TRUNCATE {tables} RESTART IDENTITY")


def _execute(url: str, *statements: str) -> None:
    engine = open_database(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()
