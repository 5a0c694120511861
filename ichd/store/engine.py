"""Opening the database, bringing it to the newest schema, and refusing to run on another one."""

import secrets
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, ProgrammingError
from sqlalchemy.pool import ConnectionPoolEntry

from ichd.domain.errors import UserError
from ichd.store.durability import choose_level
from ichd.store.liveness import watch_liveness
from ichd.store.tables import DestinationRow
from ichd.store.transaction import BEGIN_MODE, BUSY_TIMEOUT_S, WRITER_LOCK, reading, translated, writing

# Alembic is loaded by those who migrate. A daemon that only asks whether it fits would wait longer for it than for the
# answer, and a scanner for the daemon.
if TYPE_CHECKING:
    from alembic.config import Config


def open_database(url: str) -> Engine:
    """An engine on SQLite or PostgreSQL; creates the parent folder of an SQLite file, never a schema.

    Both databases keep a pool. With SQLite a new connection would pay its pragmas and read the schema again each time,
    while an idle pooled one holds no lock. An engine belongs to one process; child processes open their own.

    Raises:
        UserError: the URL names no database that we can use.
    """
    return _open(_parse(url))


def open_patient_database(url: str) -> Engine:
    """The same for upkeep: a statement may take hours.

    Raises:
        UserError: the URL names no database that we can use.
    """
    return _open(_parse(url), impatient=False)


def migrate(url: str) -> str:
    """Bring the database to the newest schema and return its revision.

    Safe to run by several processes at once: the first one migrates, the others wait and find it done.

    Raises:
        UserError: the URL can't be used, or the database belongs to a newer version of ichd.
        Transient: the database does not answer.
    """
    from alembic import command
    from alembic.util import CommandError

    # SQLite changes a table by copying it; with foreign keys enforced, dropping the old one would delete its children.
    engine = _open(_parse(url), foreign_keys=False, impatient=False)
    try:
        with translated():
            command.upgrade(_config(engine), "head")
        return _revision(engine) or ""
    except CommandError as error:
        raise UserError(f"the database can't be migrated: {error}; was it made by a newer ichd?") from error
    finally:
        engine.dispose()


def create_if_empty(url: str) -> bool:
    """Give a database without any table the newest schema; one that holds anything is left alone. Returns which.

    Raises:
        UserError: the URL can't be used.
        Transient: the database does not answer.
    """
    engine = open_database(url)
    with reading(engine) as session:
        empty = not inspect(session.connection()).get_table_names()
    engine.dispose()
    if empty:
        migrate(url)
    return empty


def check_schema(engine: Engine) -> None:
    """Refuse a database on another schema than this version's.

    Raises:
        UserError: it is; names the mend.
        Transient: the database does not answer.
    """
    expected = newest_schema()
    found = _revision(engine)
    if found != expected:
        raise UserError(
            f"the database has schema {found or 'none'}, this ichd needs {expected}; run `ichd migrate` "
            "(with the newest ichd that used this database)"
        )


def check_writable(engine: Engine) -> None:
    """Begin to write, and take it back: a full disk, a standby server or a lock that nobody releases shows here.

    Raises:
        UserError: our user may not write; names the mend.
        Transient: the database does not answer, or does not take it.
    """
    never = {"name": f"write-test-{secrets.token_hex(8)}", "failures": 0, "closed_until": datetime.now(UTC)}
    try:
        with writing(engine) as session:
            session.execute(insert(DestinationRow).values(never))
            session.rollback()
    except ProgrammingError as error:
        raise UserError(
            "the database lets our user read but not write; grant it all rights on the tables of ichd"
        ) from error


def draft_migration(message: str) -> Path:
    """Write the migration from the newest schema to what the tables say now, to be read and mended by hand.

    For developers: python -c "from ichd.store.engine import draft_migration; draft_migration('what changes')"
    """
    from alembic import command
    from alembic.script import Script

    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/draft.db"
        number = int(migrate(url)) + 1
        engine = _open(_parse(url), foreign_keys=False)
        drafted = command.revision(_config(engine), message, autogenerate=True, rev_id=f"{number:04d}")
        engine.dispose()
    if not isinstance(drafted, Script):
        raise UserError("alembic drafted no single migration; see its output")
    return Path(drafted.path)


def newest_schema() -> str:
    """The schema that this version needs: each migration's file begins with its revision, and they are in order."""
    return max(path.name.partition("_")[0] for path in (_migrations_folder() / "versions").glob("[0-9]*_*.py"))


def _config(engine: Engine) -> "Config":
    """What an alembic.ini would say."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_migrations_folder()).replace("%", "%%"))
    config.attributes["engine"] = engine
    return config


def schema_of(connection: Connection) -> str | None:
    """Revision of the schema; None where there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _revision(engine: Engine) -> str | None:
    with reading(engine) as session:
        return schema_of(session.connection())


def _migrations_folder() -> Path:
    """`ichd/migrations` in an installed wheel, `alembic` beside the package in a checkout.

    The wheel's is looked for first: beside an installed package, `alembic` is the library.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "migrations", package.parent / "alembic"):
        if (folder / "env.py").is_file():
            return folder
    raise UserError("the migrations are missing from this installation; install ichd again")


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UserError(
            "database.url is not a database URL; write sqlite:///var/ichd.db or postgresql://user@host/name"
        ) from error
    backend = parsed.drivername.partition("+")[0]
    if backend in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise UserError(f"database.url names {backend}; only sqlite and postgresql are supported")
    if parsed.database in {None, "", ":memory:"}:
        raise UserError("database.url names an SQLite database in memory, which processes can't share; name a file")
    return parsed


def _open(url: URL, *, foreign_keys: bool = True, impatient: bool = True) -> Engine:
    try:
        if url.get_backend_name() == "sqlite":
            return _open_sqlite(url, foreign_keys=foreign_keys)
        return _open_postgresql(url, impatient=impatient)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise UserError(
            f"the driver for database.url is missing ({error}); install it with pip install 'ichd[postgresql]'"
        ) from error


def _open_postgresql(url: URL, *, impatient: bool) -> Engine:
    # The connection that was used last is the one that is least in doubt.
    engine = create_engine(url, pool_timeout=BUSY_TIMEOUT_S, pool_use_lifo=True)
    # Only where there is a PostgreSQL need there be a driver.
    from ichd.store.wire import use_wires

    use_wires(engine, impatient=impatient)
    watch_liveness(engine)
    return engine


def _open_sqlite(url: URL, *, foreign_keys: bool) -> Engine:
    folder = Path(str(url.database)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {folder} of the database can't be made: {error.strerror}") from error
    # The connection that was used last has the pages that are needed next; taken in turns, none would have them.
    engine = create_engine(url, execution_options={WRITER_LOCK: Lock()}, pool_use_lifo=True)

    @event.listens_for(engine, "connect")
    def configure(connection: SqliteConnection, _entry: ConnectionPoolEntry) -> None:
        # Python's sqlite3 begins transactions by itself, only before writes and never IMMEDIATE; we begin them below.
        connection.isolation_level = None
        # The timeout comes first: switching to WAL may itself have to wait for another process that does the same.
        for pragma in (
            f"busy_timeout = {BUSY_TIMEOUT_S * 1000}",
            "journal_mode = WAL",
            f"foreign_keys = {'ON' if foreign_keys else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        choose_level(connection)
        mode = connection.get_execution_options().get(BEGIN_MODE, "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine
