"""Whether a database takes writes, before the first image asks."""

import pytest
from sqlalchemy import Engine, event, func, select, text

from ichd.domain.errors import Transient, UserError
from ichd.store.engine import check_writable
from ichd.store.tables import DestinationRow
from ichd.store.transaction import reading, writing


def on_connect(engine: Engine, statement: str) -> None:
    """Run a statement on each connection that is made from now on."""

    def run(connection: object, _entry: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute(statement)
        connection.commit()  # type: ignore[attr-defined]

    engine.dispose()
    event.listen(engine, "connect", run)


def make_read_only(engine: Engine) -> None:
    """Let each connection that is made from now on only read."""
    readonly = {"sqlite": "PRAGMA query_only = ON", "postgresql": "SET default_transaction_read_only = on"}
    on_connect(engine, readonly[engine.dialect.name])


def test_the_test_leaves_nothing(engine: Engine) -> None:
    check_writable(engine)
    with reading(engine) as session:
        assert session.scalar(select(func.count()).select_from(DestinationRow)) == 0


def test_a_database_that_can_only_be_read_is_noticed(engine: Engine) -> None:
    make_read_only(engine)
    with pytest.raises(Transient, match=r"(?i)read-?only"):
        check_writable(engine)


def test_a_user_without_rights_is_told_what_to_grant(engine: Engine) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no users")
    with writing(engine) as session:
        session.execute(text("DROP ROLE IF EXISTS onlooker"))
        session.execute(text("CREATE ROLE onlooker"))
    on_connect(engine, "SET ROLE onlooker")
    with pytest.raises(UserError, match="grant"):
        check_writable(engine)
