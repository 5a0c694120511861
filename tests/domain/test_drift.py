"""The drift of the input: worked examples, and silence where chance alone speaks."""

import math
import random
from collections import Counter

import pytest

from ichd.domain.drift import DriftLevel, drift, level_of


def test_a_worked_example() -> None:
    """Half and half became one in five and four in five: (0.3)(ln 1.6) + (-0.3)(ln 0.4), less 1/1000 + 1/500."""
    found = drift({"thin": 500, "thick": 500}, {"thin": 100, "thick": 400})

    exact = 0.3 * math.log(1.6) - 0.3 * math.log(0.4) - (1 / 1000 + 1 / 500)
    assert found == pytest.approx(exact, abs=0.01), "the pseudo-counts of half a scan change little"
    assert level_of(found or 0) is DriftLevel.ALERT


def test_the_same_shares_are_no_drift() -> None:
    assert drift({"a": 300, "b": 100}, {"a": 75, "b": 25}) == 0.0
    assert level_of(0.0) is DriftLevel.STEADY


def test_something_new_is_a_drift_and_not_an_infinite_one() -> None:
    found = drift({"H31s": 400}, {"H31s": 60, "Hr38": 40})

    assert found is not None
    assert 1 < found < 5


def test_too_few_scans_say_nothing() -> None:
    assert drift({"a": 199}, {"a": 500}) is None
    assert drift({"a": 500}, {"a": 49}) is None
    assert drift({}, {}) is None


def test_chance_alone_seldom_makes_a_small_hospital_look() -> None:
    """Of 60 scans a week among ten kinds the plain index would mostly be above 0.1."""
    chance = random.Random(5)
    kinds = [f"kernel {n}" for n in range(10)]
    looks = 0
    for _ in range(200):
        first, lately = (Counter(chance.choices(kinds, k=n)) for n in (300, 60))
        found = drift(first, lately)
        assert found is not None
        looks += level_of(found) is not DriftLevel.STEADY
    assert looks <= 40


@pytest.mark.parametrize(
    ("value", "level"),
    [(0.099, DriftLevel.STEADY), (0.1, DriftLevel.WATCH), (0.249, DriftLevel.WATCH), (0.25, DriftLevel.ALERT)],
)
def test_levels(value: float, level: DriftLevel) -> None:
    assert level_of(value) is level
