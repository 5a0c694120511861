"""How long a retry waits: a worked table, and what holds for every policy."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.job import RetryPolicy, retry_delay

POLICY = RetryPolicy(first_s=2, factor=2, ceiling_s=300, max_attempts=12)


@pytest.mark.parametrize(
    ("attempt", "jitter", "seconds"),
    [
        (1, 0.0, 2),
        (2, 0.0, 4),
        (3, 0.0, 8),
        (8, 0.0, 256),
        (9, 0.0, 300),  # 512 is above the ceiling
        (11, 0.0, 300),
        (12, 0.0, None),  # the last attempt
        (13, 0.0, None),
        (1, 0.5, 1.75),  # jitter takes up to a quarter off
        (3, 0.5, 7),
        (9, 0.5, 262.5),
    ],
)
def test_retry_delay_worked(attempt: int, jitter: float, seconds: float | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert retry_delay(POLICY, attempt, jitter) == expected


def test_a_single_attempt_is_never_retried() -> None:
    assert retry_delay(RetryPolicy(max_attempts=1), 1, 0.0) is None


@given(attempt=st.integers(1, 10**6), jitter=st.floats(0, 1, exclude_max=True))
def test_a_delay_is_positive_and_below_the_ceiling(attempt: int, jitter: float) -> None:
    delay = retry_delay(RetryPolicy(max_attempts=10**7), attempt, jitter)
    assert delay is not None
    assert timedelta() < delay <= timedelta(seconds=300)


@given(attempt=st.integers(1, 98), jitter=st.floats(0, 1, exclude_max=True))
def test_delays_never_shrink(attempt: int, jitter: float) -> None:
    delays = retry_delay(RetryPolicy(), attempt, jitter), retry_delay(RetryPolicy(), attempt + 1, jitter)
    assert delays[0] is not None
    assert delays[1] is not None
    assert delays[0] <= delays[1]
