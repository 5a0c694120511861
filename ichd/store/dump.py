"""The database as one file: taken while others work on it, and brought back into an empty one."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, inspect, make_url, text

from ichd.domain.errors import UserError
from ichd.store.disk import disk_trouble, sync_folder
from ichd.store.engine import open_patient_database
from ichd.store.postgresql_programs import run_program
from ichd.store.transaction import reading, translated


def kind_of(url: str) -> str:
    """Which database a URL names: sqlite or postgresql. A dump of one is of no use to the other."""
    return "sqlite" if make_url(url).get_backend_name() == "sqlite" else "postgresql"


@contextmanager
def dumped(url: str, to: Path) -> Iterator[Connection]:
    """Write the database into the new file `to`, durably; yields a connection that sees what the file holds, no more.

    Nobody who writes has to wait: SQLite's copy is one long read beside the write-ahead log, PostgreSQL's is a
    snapshot, which the connection shares with pg_dump.

    Raises:
        UserError: there is no pg_dump, or it is older than the server.
        Transient: the database does not answer, or the disk fails.
    """
    engine = open_patient_database(url)
    try:
        with translated():
            if kind_of(url) == "sqlite":
                _copy_sqlite(str(engine.url.database), to)
                with _opened_for_reading(to) as connection:
                    yield connection
                return
            with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
                snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
                options = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={to}"]
                run_program("pg_dump", options, engine.url, server=_server_version(connection))
                _sync(to)
                yield connection
    finally:
        engine.dispose()


def is_empty(url: str) -> bool:
    """Whether the database holds no table; one that does not exist yet is empty.

    Raises:
        UserError: the URL can't be used.
        Transient: the database does not answer.
    """
    if kind_of(url) == "sqlite":
        file = Path(str(make_url(url).database))
        if not file.exists() or file.stat().st_size == 0:
            return True
    engine = open_patient_database(url)
    try:
        with reading(engine) as session:
            return not inspect(session.connection()).get_table_names()
    finally:
        engine.dispose()


def bring_back(url: str, dump: Path) -> None:
    """Fill an empty database from a dump of its kind: all of it, or nothing.

    Raises:
        UserError: there is no pg_restore, or it can't read the dump.
        Transient: the database does not answer, or the disk fails.
    """
    engine = open_patient_database(url)
    try:
        if kind_of(url) == "sqlite":
            _place_sqlite(dump, Path(str(engine.url.database)))
            return
        with reading(engine) as session:
            server = _server_version(session.connection())
        options = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", "--no-comments"]
        run_program("pg_restore", [*options, str(dump)], engine.url, server=server)
    finally:
        engine.dispose()


def _copy_sqlite(database: str, to: Path) -> None:
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(to)) as copy:
        # In one step: in smaller ones it would begin anew whenever another process had written.
        source.backup(copy)
        # One file without a log beside it.
        copy.execute("PRAGMA journal_mode = DELETE").close()
    _sync(to)


@contextmanager
def _opened_for_reading(dump: Path) -> Iterator[Connection]:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(f"{dump.absolute().as_uri()}?mode=ro", uri=True)

    engine: Engine = create_engine("sqlite://", creator=connect)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _place_sqlite(dump: Path, database: Path) -> None:
    draft = database.with_name(f"{database.name}.restored")
    with disk_trouble():
        shutil.copyfile(dump, draft)
        _sync(draft)
        draft.replace(database)
        sync_folder(database.parent)


def _server_version(connection: Connection) -> int:
    """Major version of the server."""
    number = connection.scalar(text("SHOW server_version_num"))
    if number is None:
        raise UserError("the server does not say its version; use PostgreSQL 15 or newer")
    return int(number) // 10_000


def _sync(file: Path) -> None:
    with disk_trouble():
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
