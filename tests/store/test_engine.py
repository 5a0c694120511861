"""Opening, migrating and refusing databases."""

import multiprocessing
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, select, text

from ichd import store
from ichd.domain.errors import Transient, UserError
from ichd.domain.reason import Reason
from ichd.store import transaction
from ichd.store.engine import check_schema, create_if_empty, migrate, open_database
from ichd.store.tables import AssociationRow, Base
from ichd.store.transaction import reading, writing


def test_migrations_make_what_the_models_say(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        made = inspect(connection)
        for table in Base.metadata.sorted_tables:
            columns = {c["name"]: c["nullable"] for c in made.get_columns(table.name)}
            assert columns == {c.name: c.nullable for c in table.columns}
            foreign = {f["name"] for f in made.get_foreign_keys(table.name)}
            assert foreign == {c.name for c in table.foreign_key_constraints}


def test_partial_unique_index_is_partial(engine: Engine) -> None:
    with engine.connect() as connection:
        (index,) = [i for i in inspect(connection).get_indexes("job") if i["name"] == "uq_job_analyse"]
    assert index["unique"]
    assert "destination IS NULL" in str(index["dialect_options"][f"{engine.dialect.name}_where"])


def test_migrate_is_idempotent_and_says_the_revision(database_url: str) -> None:
    assert migrate(database_url) == migrate(database_url) == "0005"
    engine = open_database(database_url)
    check_schema(engine)
    engine.dispose()


def test_migrating_at_once_by_several_is_safe(database_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=spawn) as pool:
        assert set(pool.map(migrate, [database_url] * 3)) == {"0005"}


def test_an_empty_database_is_refused_with_the_mend(database_url: str) -> None:
    engine = open_database(database_url)
    with pytest.raises(UserError, match=r"schema none.*needs 0005.*ichd migrate"):
        check_schema(engine)
    engine.dispose()


def test_a_newer_schema_is_refused(database_url: str) -> None:
    migrate(database_url)
    engine = open_database(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UserError, match="schema 9999"):
        check_schema(engine)
    with pytest.raises(UserError, match="newer ichd"):
        migrate(database_url)
    engine.dispose()


def test_only_a_database_without_tables_is_given_a_schema_unasked(database_url: str) -> None:
    assert create_if_empty(database_url)
    assert not create_if_empty(database_url)
    engine = open_database(database_url)
    check_schema(engine)
    engine.dispose()


def test_times_come_back_aware_and_in_utc(engine: Engine) -> None:
    at = datetime(2026, 3, 29, 3, 30, 0, 250000, tzinfo=timezone(timedelta(hours=2)))
    with writing(engine) as session:
        session.add(AssociationRow(calling_ae_title="CT1", address="192.0.2.1", opened_at=at, listener=""))
    with reading(engine) as session:
        opened_at = session.scalars(select(AssociationRow.opened_at)).one()
    assert opened_at == at
    assert opened_at.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(engine: Engine) -> None:
    naive = datetime(2026, 3, 1)  # noqa: DTZ001 - the point of the test
    with pytest.raises(Exception, match="without a zone"), writing(engine) as session:
        session.add(AssociationRow(calling_ae_title="CT1", address="192.0.2.1", opened_at=naive, listener=""))


def test_the_schema_has_no_place_for_who_the_patient_is() -> None:
    names = {column.name.lower() for table in Base.metadata.sorted_tables for column in table.columns}
    for word in ("patient", "birth", "sex", "age", "name_of", "physician"):
        assert not [name for name in names if word in name.split("_")], word


def test_sqlite_is_durable_and_shared(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/deep/folder/ichd.db")
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15000}


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("nonsense", "not a database URL"),
        ("mysql://root@localhost/ichd", "only sqlite and postgresql"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:////proc/ichd/ichd.db", "can't be made"),
    ],
)
def test_a_url_that_can_not_work_is_a_user_error(url: str, mend: str) -> None:
    with pytest.raises(UserError, match=mend):
        open_database(url)


def test_a_server_that_is_away_is_transient() -> None:
    engine = open_database("postgresql://ichd@127.0.0.1:9/ichd")
    with pytest.raises(Transient) as caught, reading(engine) as session:
        session.execute(text("SELECT 1"))
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    engine.dispose()


def test_a_damaged_or_foreign_file_is_transient(tmp_path: Path) -> None:
    (tmp_path / "ichd.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(Transient, match="not a database"):
        migrate(f"sqlite:///{tmp_path / 'ichd.db'}")


def _add_associations(url: str, count: int) -> None:
    engine = open_database(url)
    for _ in range(count):
        with writing(engine) as session:
            # A read before the write: without BEGIN IMMEDIATE this is the transaction that SQLite refuses at once.
            session.execute(select(AssociationRow.id).limit(1)).all()
            now = datetime.now(UTC)
            session.add(AssociationRow(calling_ae_title="CT1", address="192.0.2.1", opened_at=now, listener=""))
    engine.dispose()


def test_several_processes_write_without_being_refused(engine: Engine, migrated_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_add_associations, args=(migrated_url, 40)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    with reading(engine) as session:
        assert len(session.scalars(select(AssociationRow.id)).all()) == 80


def test_an_installed_wheel_finds_its_own_migrations(tmp_path: Path) -> None:
    """The layout that setup.cfg gives the wheel: the folder `alembic` becomes `ichd/migrations`."""
    package = Path(store.__file__).parents[1]
    for room in ("domain", "store"):
        shutil.copytree(package / room, tmp_path / "ichd" / room, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "ichd" / "__init__.py").touch()
    shutil.copytree(package.parent / "alembic", tmp_path / "ichd" / "migrations")
    program = (
        "import ichd, sys; from ichd.store.engine import draft_migration, migrate;"
        "print(ichd.__file__, migrate(sys.argv[1])); draft_migration('nothing new')"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program, f"sqlite:///{tmp_path}/ichd.db"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout.split()[:2] == [str(tmp_path / "ichd" / "__init__.py"), "0005"]
    draft = (tmp_path / "ichd" / "migrations" / "versions" / "0006_nothing_new.py").read_text()
    assert "down_revision = '0005'" in draft
    assert "    pass\n" in draft
    assert "op." not in draft


def test_a_thread_that_holds_the_database_too_long_is_transient_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'ichd.db'}")
    monkeypatch.setattr(transaction, "BUSY_TIMEOUT_S", 0.05)

    def write() -> None:
        with writing(engine):
            pass

    with ThreadPoolExecutor(1) as pool, writing(engine):
        waiting = pool.submit(write)
        assert isinstance(waiting.exception(timeout=10), Transient)
    write()
    engine.dispose()


def test_a_process_that_holds_the_database_too_long_is_transient_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two engines are as good as two processes: they share nothing but the file."""
    url = f"sqlite:///{tmp_path / 'ichd.db'}"
    monkeypatch.setattr("ichd.store.engine.BUSY_TIMEOUT_S", 0)
    first, second = open_database(url), open_database(url)

    def write() -> None:
        with writing(second):
            pass

    with writing(first), pytest.raises(Transient, match="database is locked"):
        write()
    write()
    first.dispose()
    second.dispose()


@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
def test_a_server_that_holds_a_row_too_long_is_transient(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ichd.store.engine.BUSY_TIMEOUT_S", 0.1)
    first, second = open_database(migrated_url), open_database(migrated_url)

    def lock(engine: Engine) -> None:
        with writing(engine) as session:
            session.execute(text("LOCK TABLE study"))

    with writing(first) as session:
        session.execute(text("LOCK TABLE study"))
        with pytest.raises(Transient, match=r"(lock|statement) timeout"):
            lock(second)
    lock(second)
    first.dispose()
    second.dispose()
