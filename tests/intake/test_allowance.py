"""How many rows one address may cause."""

from datetime import UTC, datetime, timedelta

import pytest

from ichd.domain.reason import Reason
from ichd.intake import allowance
from ichd.intake.allowance import Allowance

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALMOST_A_MINUTE = NOON + timedelta(seconds=59)
A_MINUTE = NOON + timedelta(seconds=60)
HERE, THERE = "192.0.2.1", "192.0.2.2"
DENIED = Reason.ASSOCIATION_NOT_ALLOWED


def test_an_address_has_so_many_rows_a_minute_for_each_reason() -> None:
    rows = Allowance(2)
    assert [rows.take(DENIED, HERE, NOON) for _ in range(3)] == [0, 0, None]
    assert rows.take(DENIED, HERE, ALMOST_A_MINUTE) is None
    assert rows.take(DENIED, THERE, ALMOST_A_MINUTE) == 0
    assert rows.take(Reason.TOO_MANY_ASSOCIATIONS, HERE, ALMOST_A_MINUTE) == 0
    assert rows.take(DENIED, HERE, A_MINUTE) == 2, "the next row stands for those that had none"
    assert rows.take(DENIED, HERE, A_MINUTE) == 0


def test_each_title_has_one_row_a_minute() -> None:
    rows = Allowance(3)
    assert [rows.take(DENIED, HERE, NOON, title=title) for title in ("A", "A", "B", "A", "C", "D")] == [
        0,
        None,
        1,
        None,
        1,
        None,
    ]
    assert rows.take(DENIED, HERE, A_MINUTE, title="A") == 1


def test_a_row_may_be_had_beyond_the_allowance() -> None:
    rows = Allowance(1)
    assert [rows.take(DENIED, HERE, NOON) for _ in range(4)] == [0, None, None, None]
    assert rows.take_anyway(DENIED, HERE, NOON) == 2
    assert rows.take(DENIED, HERE, A_MINUTE) == 0


def test_a_clock_that_is_put_back_silences_nobody() -> None:
    rows = Allowance(1)
    assert rows.take(DENIED, HERE, NOON) == 0
    assert rows.take(DENIED, HERE, NOON - timedelta(hours=1)) == 0


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "_MOST_ACCOUNTS", 100)
    rows = Allowance(1)
    for number in range(1000):
        assert rows.take(DENIED, f"2001:db8::{number:x}", NOON) == 0
    assert len(rows._accounts) == 100
    assert rows.take(DENIED, "2001:db8::3e7", NOON) is None, "the newest are the ones that are kept"
