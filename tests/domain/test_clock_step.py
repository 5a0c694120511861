"""What a clock that was set back leaves behind: nothing lies further ahead than a right clock would have put it."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.clock_step import Horizon, has_been, is_astray, lease_end

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HORIZON = Horizon(lease=timedelta(seconds=15), wait=timedelta(minutes=5), pause=timedelta(minutes=1))
MOMENTS = st.timedeltas(min_value=timedelta(days=-400), max_value=timedelta(days=400)).map(lambda step: NOW + step)


@given(MOMENTS)
def test_a_lease_ends_no_later_than_one_of_this_moment_and_a_right_one_stays(until: datetime) -> None:
    mended = lease_end(until, HORIZON, NOW)
    assert mended <= NOW + HORIZON.lease
    assert mended == until or until > NOW + HORIZON.lease


@given(MOMENTS)
def test_what_has_happened_has_not_happened_later_than_now(moment: datetime) -> None:
    assert has_been(moment, NOW) <= NOW
    assert has_been(moment, NOW) == moment or moment > NOW


def test_the_longest_wait_of_a_right_clock_is_not_astray() -> None:
    assert not is_astray(NOW + HORIZON.wait, HORIZON.wait, NOW)
    assert is_astray(NOW + HORIZON.wait + timedelta(microseconds=1), HORIZON.wait, NOW)
