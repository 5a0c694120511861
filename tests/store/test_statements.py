"""Statements of their own: what they answer, what they leave behind in the pool, and how they fail."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, literal, select, text
from sqlalchemy.exc import StatementError

from ichd.domain.errors import Transient
from ichd.domain.job import JobKind
from ichd.domain.study import StudyState
from ichd.store.columns import Coded, UtcDateTime
from ichd.store.statements import Statements
from ichd.store.tables import StudyRow
from tests.store.house import NOON, STUDY, House

on_postgresql = pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)


def test_values_come_back_as_they_went(house: House) -> None:
    house.receive(1)
    statement = select(
        StudyRow.id,
        StudyRow.state,
        StudyRow.reason,
        bindparam("now", type_=UtcDateTime()).label("now"),
        literal(JobKind.PUBLISH, Coded(JobKind)).label("kind"),
        literal("50 % of 'it'").label("words"),
        literal(None, UtcDateTime()).label("never"),
    ).where(StudyRow.study_instance_uid == bindparam("uid"))
    statements = Statements(house.engine)
    expected = {
        "id": 1,
        "state": StudyState.RECEIVING,
        "reason": None,
        "now": NOON,
        "kind": JobKind.PUBLISH,
        "words": "50 % of 'it'",
        "never": None,
    }
    for _ in range(8):  # prepared by the driver after some
        assert statements.row(statement, {"now": NOON, "uid": STUDY}, writes=False) == expected
    assert statements.row(statement, {"now": NOON, "uid": "1.2"}, writes=False) is None


@on_postgresql
def test_a_connection_goes_back_to_the_pool_as_it_came(house: House) -> None:
    house.ready()
    job = house.claim()
    house.queue.complete(None, job, now=house.now)
    with house.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert driver.autocommit is False


@on_postgresql
def test_a_statement_that_the_server_ends_is_transient_and_its_connection_is_of_use(engine: Engine) -> None:
    statements = Statements(engine)
    waits = select(text("pg_sleep(5)")).add_columns(literal(1).label("one"))
    with engine.connect() as connection:
        connection.exec_driver_sql("SET statement_timeout = '100ms'")
        connection.commit()
    with pytest.raises(Transient, match="statement timeout"):
        statements.row(waits, {})
    assert statements.row(select(literal(2).label("two")), {}) == {"two": 2}


@on_postgresql
def test_a_server_that_ends_our_session_is_transient_and_the_next_statement_is_well(engine: Engine) -> None:
    statements = Statements(engine)
    dies = select(text("pg_terminate_backend(pg_backend_pid())")).add_columns(literal(1).label("one"))
    with pytest.raises(Transient):
        statements.row(dies, {})
    assert statements.row(select(literal(2).label("two")), {}) == {"two": 2}


def test_a_naive_time_is_refused(engine: Engine) -> None:
    statement = select(bindparam("now", type_=UtcDateTime()).label("now"))
    with pytest.raises((ValueError, StatementError), match="without a zone"):
        Statements(engine).row(statement, {"now": datetime.now(UTC).replace(tzinfo=None)})
