"""Bins: what goes in comes out again, near enough; and they add up."""

import pytest

from ichd.domain.histogram import (
    added,
    duration_bin,
    duration_of,
    quantile,
    score_bin,
    score_of,
    slices_bin,
    thickness_bin,
)
from ichd.domain.proportion import proportion


@pytest.mark.parametrize("seconds", [0.07, 0.5, 1.0, 3.3, 59.0, 600.0, 86400.0])
def test_a_duration_is_known_to_less_than_five_percent(seconds: float) -> None:
    assert duration_of(duration_bin(seconds)) == pytest.approx(seconds, rel=0.045)


def test_what_is_shorter_than_anything_lies_in_the_first_bin() -> None:
    assert duration_bin(0.0) == duration_bin(-3.0) == 0


def test_scores_have_twenty_bins_and_one_is_in_the_last() -> None:
    assert [score_bin(p) for p in (0.0, 0.049, 0.05, 0.5, 1.0)] == [0, 0, 1, 10, 19]
    assert score_of(0) == 0.025


def test_inputs_have_bins_that_say_what_they_are() -> None:
    assert [slices_bin(n) for n in (8, 16, 32, 300)] == ["below 16", "16 to 24", "32 to 40", "from 128"]
    assert thickness_bin(0.625) == "below 0.9 mm"
    assert thickness_bin(5.0) == "4.5 mm to 5.5 mm"
    assert thickness_bin(10.0) == "from 5.5 mm"
    assert thickness_bin(None) == thickness_bin(0.0) == thickness_bin(float("nan")) == "unknown"


def test_a_quantile_is_the_nearest_rank() -> None:
    counts = {3: 50, 7: 45, 9: 5}
    assert [quantile(counts, share) for share in (0.5, 0.51, 0.95, 0.96)] == [3, 7, 7, 9]
    assert quantile({}, 0.5) is None


def test_histograms_add_up() -> None:
    assert added([{"a": 1, "b": 2}, {"b": 3}]) == {"a": 1, "b": 5}


def test_wilsons_interval() -> None:
    """Of 8 of 10 it is 0.4902 to 0.9433 (Newcombe 1998, method 3, to the fourth place)."""
    found = proportion(8, 10)
    assert found is not None
    assert (found.share, round(found.low, 4), round(found.high, 4)) == (0.8, 0.4902, 0.9433)
    assert proportion(0, 0) is None
    all_of_five = proportion(5, 5)
    assert all_of_five is not None
    assert all_of_five.high == 1.0
    assert all_of_five.low < 0.6
