"""How values read."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.finding import Triage
from ichd.domain.study import StudyState
from ichd.domain.wording import percent
from ichd.web.strips import strip_path
from ichd.web.words import age, badge_of, short_uid, timing

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "< 0.1 %"),
        (0.004, "0.4 %"),
        (0.0149, "1.5 %"),
        (0.496, "49.6 %"),
        (0.5032, "50.3 %"),
        (0.984, "98.4 %"),
        (0.986, "98.6 %"),
        (0.9988, "99.9 %"),
        (0.99999, "> 99.9 %"),
        (1.0, "> 99.9 %"),
    ],
)
def test_percent(probability: float, text: str) -> None:
    assert percent(probability) == text


@given(st.floats(0, 1))
def test_no_probability_reads_as_certain(probability: float) -> None:
    assert percent(probability) not in {"0 %", "0.0 %", "100 %", "100.0 %"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (86400, "24 h"), (2 * 86400, "2 d")],
)
def test_age(seconds: float, text: str) -> None:
    assert age(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize("state", StudyState)
def test_triage_goes_before_the_state(state: StudyState) -> None:
    assert badge_of(Triage.URGENT, state).word == "Urgent"
    assert badge_of(None, state).word


def test_a_short_uid_keeps_the_end_which_differs() -> None:
    assert short_uid("1.2.840.113619.2.22.288.1.14234.20161129") == "…14234.20161129"
    assert short_uid("1.2.3") == "1.2.3"


def test_a_strip_has_a_step_a_slice() -> None:
    assert strip_path([0.0, 0.5, 1.0]) == "M0 20V20.00h1V10.00h1V0.00h1V20Z"


@pytest.mark.parametrize(
    ("name", "ms", "words"),
    [
        ("embed", 841.6, ("embed", "842 ms")),
        ("ahead_first", -8123.4, ("first slice seen", "8.1 s before the study was complete")),
        ("ahead_last", -120_000.0, ("last slice seen", "2 min before the study was complete")),
        ("ahead_last", 40.0, ("last slice seen", "0.0 s after the study was complete")),
    ],
)
def test_a_timing_is_a_duration_or_a_moment(name: str, ms: float, words: tuple[str, str]) -> None:
    assert timing(name, ms) == words
