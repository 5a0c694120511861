"""What doctor and the status page say of the clockwork."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from ichd.app.clockwork import check_commission, check_self_test, check_ticks, describe_self_test
from ichd.domain.errors import UserError
from ichd.domain.reason import Reason
from ichd.store.engine import migrate, open_database
from ichd.store.ticks import Ticks, Trouble
from tests.store.house import NOON

EVERY = timedelta(hours=1)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path / 'ichd.db'}"
    migrate(url)
    engine = open_database(url)
    yield engine
    engine.dispose()


def run(engine: Engine, name: str, trouble: Trouble | None = None) -> None:
    ticks = Ticks(engine, owner="w")
    assert ticks.claim(name, every=EVERY, lease=timedelta(seconds=15), now=NOON) is None
    ticks.done(name, trouble, due_at=NOON + EVERY, now=NOON)


def test_what_nobody_runs_is_named_with_the_mend(engine: Engine) -> None:
    assert "none yet" in check_ticks(engine, now=NOON)
    run(engine, "strand")
    run(engine, "sweep_spool@ct-1")
    assert check_ticks(engine, now=NOON + EVERY + timedelta(minutes=9)) == "2, none overdue"

    with pytest.raises(UserError, match=r"nobody runs strand, sweep_spool on ct-1: start `ichd worker`"):
        check_ticks(engine, now=NOON + EVERY + timedelta(minutes=11))


def test_trouble_is_told_since_when_and_why(engine: Engine) -> None:
    run(engine, "disk@ct-1", Trouble(reason=Reason.DISK_LOW, detail="97%"))
    with pytest.raises(UserError, match=r"disk on ct-1: disk_low since 2026-03-01 12:00 UTC \(97%\)"):
        check_ticks(engine, now=NOON)


def test_a_model_that_drifted_is_no_model_to_trust(engine: Engine) -> None:
    assert check_self_test(engine) == "not yet"
    run(engine, "self_test@ct-1")
    assert "as ever" in check_self_test(engine)
    run(engine, "self_test@ct-2", Trouble(reason=Reason.SELF_TEST_DRIFTED, detail="0.3"))

    assert "self_test on ct-2: self_test_drifted" in describe_self_test(engine)
    with pytest.raises(UserError, match="ichd model verify"):
        check_self_test(engine)
    assert check_ticks(engine, now=NOON) == "2, none overdue", "it has a line of its own"


def test_a_phantom_that_did_not_come_back_has_a_line_of_its_own(engine: Engine) -> None:
    assert check_commission(engine) == "not yet"
    run(engine, "commission")
    assert check_commission(engine) == "last 2026-03-01 12:00 UTC, passed"


def test_and_says_what_to_do(engine: Engine) -> None:
    run(engine, "commission", Trouble(reason=Reason.COMMISSION_FAILED, detail="not listed"))
    with pytest.raises(UserError, match=r"not listed.*ichd commission"):
        check_commission(engine)
    assert check_ticks(engine, now=NOON) == "1, none overdue"
