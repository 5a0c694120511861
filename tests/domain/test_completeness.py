"""When a study is complete: a worked table in seconds after noon, and what holds whatever the evidence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.completeness import Carrier, Closing, CompletenessPolicy, Evidence, closing

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = CompletenessPolicy(quiet_period_s=2, interrupted_period_s=20, silent_period_s=120)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def clean(opened: float, ended: float) -> Carrier:
    return Carrier(opened_at=at(opened), ended_at=at(ended), clean=True)


def broken(opened: float, ended: float) -> Carrier:
    return Carrier(opened_at=at(opened), ended_at=at(ended), clean=False)


def still_open(opened: float) -> Carrier:
    return Carrier(opened_at=at(opened), ended_at=None, clean=False)


def evidence(last: float, *carriers: Carrier) -> Evidence:
    return Evidence(last_instance_at=at(last), carriers=carriers)


@pytest.mark.parametrize(
    ("seen", "now", "expected"),
    [
        # Released: the quiet period counts from the release.
        (evidence(0, clean(0, 10)), 10, None),
        (evidence(0, clean(0, 10)), 11.9, None),
        (evidence(0, clean(0, 10)), 12, Closing.RELEASED_AND_QUIET),
        # A slice that was committed after the release was noted: from the slice.
        (evidence(11, clean(0, 10)), 12, None),
        (evidence(11, clean(0, 10)), 13, Closing.RELEASED_AND_QUIET),
        # Broken: the sender gets time to come back.
        (evidence(0, broken(0, 1)), 3, None),
        (evidence(0, broken(0, 1)), 20.9, None),
        (evidence(0, broken(0, 1)), 21, Closing.INTERRUPTED_AND_QUIET),
        # Two in parallel, one broken: the release of the other one says nothing of the broken one's slices.
        (evidence(9, broken(0, 9), clean(0, 9.5)), 11.5, None),
        (evidence(9, clean(0, 9.5), broken(0, 9)), 29.4, None),
        (evidence(9, broken(0, 9), clean(0, 9.5)), 29.5, Closing.INTERRUPTED_AND_QUIET),
        (evidence(9, broken(0, 9.5), clean(0, 9)), 29.5, Closing.INTERRUPTED_AND_QUIET),
        # A resend: opened after the interruption, and released.
        (evidence(14, broken(0, 9), clean(10, 15)), 17, Closing.RELEASED_AND_QUIET),
        (evidence(14, broken(0, 8), broken(0, 9), clean(9.1, 15)), 17, Closing.RELEASED_AND_QUIET),
        # A resend that breaks as well, and one that heals both.
        (evidence(14, broken(0, 9), broken(10, 15)), 17, None),
        (evidence(24, broken(0, 9), broken(10, 15), clean(16, 25)), 27, Closing.RELEASED_AND_QUIET),
        # What breaks after the resend is not healed by it.
        (evidence(24, broken(0, 9), clean(10, 15), broken(20, 25)), 27, None),
        # No association is known: as after one that broke.
        (evidence(0), 19.9, None),
        (evidence(0), 20, Closing.INTERRUPTED_AND_QUIET),
        # Open: whatever ended before does not count, only the silence since the last slice.
        (evidence(0, still_open(0)), 119.9, None),
        (evidence(0, still_open(0)), 120, Closing.SILENT),
        (evidence(50, still_open(0), clean(0, 10)), 60, None),
        (evidence(50, still_open(0), still_open(1), clean(0, 10)), 170, Closing.SILENT),
    ],
)
def test_closing_worked(seen: Evidence, now: float, expected: Closing | None) -> None:
    assert closing(seen, POLICY, at(now)) is expected


SECONDS = st.floats(0, 1000)
ENDED = st.builds(
    lambda first, second, good: clean(min(first, second), max(first, second)) if good else broken(first, first),
    SECONDS,
    SECONDS,
    st.booleans(),
)
EVIDENCE = st.builds(
    lambda last, carriers: evidence(last, *carriers), SECONDS, st.lists(ENDED | st.builds(still_open, SECONDS))
)


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


@given(EVIDENCE, st.randoms(use_true_random=False))
def test_the_order_in_which_associations_are_told_means_nothing(seen: Evidence, random: object) -> None:
    shuffled = list(seen.carriers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert closing(replace(seen, carriers=shuffled), POLICY, at(500)) is closing(seen, POLICY, at(500))


@given(EVIDENCE, SECONDS)
def test_another_broken_association_never_closes_a_study_sooner(seen: Evidence, ended: float) -> None:
    worse = replace(seen, carriers=[*seen.carriers, broken(0, ended)])
    for now in range(0, 2000, 50):
        if closing(worse, POLICY, at(now)) is not None:
            assert closing(seen, POLICY, at(now)) is not None
