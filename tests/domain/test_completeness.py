"""When a study is complete: a worked table in seconds after noon, and what holds whatever the evidence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.completeness import Closing, CompletenessPolicy, Evidence, closing

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = CompletenessPolicy(quiet_period_s=2, interrupted_period_s=20, silent_period_s=120)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def evidence(last: float, *, open_: int = 0, end: float | None = None, released: bool = False) -> Evidence:
    return Evidence(
        last_instance_at=at(last),
        open_associations=open_,
        last_end_at=None if end is None else at(end),
        last_end_released=released,
    )


@pytest.mark.parametrize(
    ("seen", "now", "expected"),
    [
        # Released: the quiet period counts from the release.
        (evidence(0, end=10, released=True), 10, None),
        (evidence(0, end=10, released=True), 11.9, None),
        (evidence(0, end=10, released=True), 12, Closing.RELEASED_AND_QUIET),
        # A slice that was committed after the release was noted: from the slice.
        (evidence(11, end=10, released=True), 12, None),
        (evidence(11, end=10, released=True), 13, Closing.RELEASED_AND_QUIET),
        # Broken: the sender gets time to come back.
        (evidence(0, end=1), 3, None),
        (evidence(0, end=1), 20.9, None),
        (evidence(0, end=1), 21, Closing.INTERRUPTED_AND_QUIET),
        # No association is known: as after one that broke.
        (evidence(0), 19.9, None),
        (evidence(0), 20, Closing.INTERRUPTED_AND_QUIET),
        # Open: whatever ended before does not count, only the silence since the last slice.
        (evidence(0, open_=1), 119.9, None),
        (evidence(0, open_=1), 120, Closing.SILENT),
        (evidence(50, open_=1, end=10, released=True), 60, None),
        (evidence(50, open_=2, end=10, released=True), 170, Closing.SILENT),
    ],
)
def test_closing_worked(seen: Evidence, now: float, expected: Closing | None) -> None:
    assert closing(seen, POLICY, at(now)) is expected


SECONDS = st.floats(0, 1000)
EVIDENCE = st.builds(evidence, SECONDS, open_=st.integers(0, 3), end=st.none() | SECONDS, released=st.booleans())


@given(EVIDENCE, SECONDS, SECONDS)
def test_what_is_closed_stays_closed_while_nothing_arrives(seen: Evidence, now: float, later: float) -> None:
    if closing(seen, POLICY, at(now)) is not None:
        assert closing(seen, POLICY, at(now + later)) is closing(seen, POLICY, at(now))


@given(EVIDENCE, SECONDS)
def test_a_slice_this_instant_keeps_every_study_open(seen: Evidence, now: float) -> None:
    assert closing(replace(seen, last_instance_at=at(now)), POLICY, at(now)) is None


@given(EVIDENCE)
def test_every_study_closes_in_the_end(seen: Evidence) -> None:
    assert closing(seen, POLICY, at(2000)) is not None
