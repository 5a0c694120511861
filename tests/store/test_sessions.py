"""Sessions of browsers: what opens one, and when it is over."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select

from ichd.domain.role import Role
from ichd.store.sessions import Lifetimes, LogIn, Sessions
from ichd.store.tables import WebSessionRow
from ichd.store.transaction import reading
from tests.store.house import NOON

JANE = LogIn(account="jane", role=Role.OPERATOR, fingerprint="ab")
VERA = LogIn(account="vera", role=None, fingerprint="cd")


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    return Sessions(engine, Lifetimes(idle=timedelta(minutes=30), absolute=timedelta(hours=2)))


def rows(engine: Engine) -> int:
    with reading(engine) as session:
        return session.scalars(select(func.count()).select_from(WebSessionRow)).one()


def test_a_key_opens_its_own_session_until_it_is_ended(sessions: Sessions) -> None:
    jane, vera = sessions.start(JANE, now=NOON), sessions.start(VERA, now=NOON)

    assert (sessions.find(jane, now=NOON), sessions.find(vera, now=NOON)) == (JANE, VERA)
    sessions.end(jane)
    sessions.end("unknown")
    assert (sessions.find(jane, now=NOON), sessions.find(vera, now=NOON)) == (None, VERA)


@pytest.mark.parametrize("key", ["", "x", "é" * 43, "' OR 1=1 --", "\x00"])
def test_what_is_no_key_opens_nothing(sessions: Sessions, key: str) -> None:
    sessions.start(JANE, now=NOON)

    assert sessions.find(key, now=NOON) is None


def test_a_session_lives_as_long_as_it_is_used_and_no_longer_than_it_may(sessions: Sessions) -> None:
    key, now = sessions.start(JANE, now=NOON), NOON
    while now < NOON + timedelta(minutes=115):
        now += timedelta(minutes=23)
        assert sessions.find(key, now=now) == JANE

    assert sessions.find(key, now=NOON + timedelta(hours=2)) is None


def test_an_idle_session_is_over(sessions: Sessions) -> None:
    key = sessions.start(JANE, now=NOON)

    assert sessions.find(key, now=NOON + timedelta(minutes=29, seconds=59)) == JANE
    assert sessions.find(key, now=NOON + timedelta(minutes=60)) is None


def test_what_is_over_is_forgotten_at_the_next_log_in(sessions: Sessions, engine: Engine) -> None:
    for _ in range(3):
        sessions.start(JANE, now=NOON)
    sessions.start(VERA, now=NOON + timedelta(hours=3))

    assert rows(engine) == 1


def test_the_database_holds_no_key(sessions: Sessions, engine: Engine) -> None:
    key = sessions.start(JANE, now=NOON)

    with reading(engine) as session:
        row = session.scalars(select(WebSessionRow)).one()
    assert key not in {row.key_hash, row.fingerprint, row.account}
    assert sessions.find(row.key_hash, now=NOON) is None
