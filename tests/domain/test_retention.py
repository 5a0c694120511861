"""Watermarks, and which studies can do without their images."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.retention import Watermarks, is_done_with
from ichd.domain.study import StudyState

SHARE = st.floats(0, 1)


@st.composite
def watermarks(draw: st.DrawFn) -> Watermarks:
    low, high = sorted((draw(SHARE), draw(SHARE)))
    return Watermarks(high=high, low=low)


def test_only_what_nobody_reads_again_may_go() -> None:
    assert {state for state in StudyState if is_done_with(state, owes=False)} == {
        StudyState.REPORTED,
        StudyState.NOT_ANALYSED,
    }
    assert not any(is_done_with(state, owes=True) for state in StudyState)


def test_marks_that_would_never_open_again_are_refused() -> None:
    with pytest.raises(ValueError, match="never be taken again"):
        Watermarks(high=0.8, low=0.9)


@pytest.mark.parametrize(
    ("used", "was_shut", "is_shut"),
    [
        (0.84, False, False),
        (0.9, False, False),
        (0.95, False, True),
        (0.95, True, True),
        (0.9, True, True),
        (0.85, True, True),
        (0.84, True, False),
    ],
)
def test_between_the_marks_a_gate_stays_as_it_was(used: float, was_shut: bool, is_shut: bool) -> None:
    assert Watermarks(high=0.95, low=0.85).is_shut(used, was_shut=was_shut) is is_shut


@given(watermarks(), SHARE, st.booleans())
def test_room_is_made_before_the_doors_shut(marks: Watermarks, used: float, before: bool) -> None:
    assert marks.low <= marks.dropping_from <= marks.high
    if marks.is_shut(used, was_shut=before):
        assert marks.is_short(used, was_short=before)
