"""From the highest slice to the scan: worked by hand, and what holds for every calibration."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.finding import CLASSES, Presence, ReadingRule, Threshold, conclude
from ichd.domain.scan_calibration import ScanCalibration
from ichd.domain.wording import HIGHEST_SLICE, meaning_of_probabilities
from tests.domain.test_finding import prediction

PLAIN = ScanCalibration(scans=100, patients=90, prevalence=0.4)
KNOTS = ((-2.0, 0.1), (0.0, 0.4), (2.0, 0.9))

PROBABILITIES = st.floats(0, 1)
KNOTTED = st.lists(st.tuples(st.floats(-9, 9), PROBABILITIES), max_size=6, unique_by=lambda k: round(k[0], 3)).map(
    lambda pairs: tuple(zip(sorted(x for x, _ in pairs), sorted(p for _, p in pairs), strict=True))
)
CALIBRATIONS = st.builds(
    ScanCalibration,
    growth=st.floats(0, 2),
    scale=st.floats(0.05, 20),
    bias=st.floats(-5, 5),
    knots=KNOTTED,
    scans=st.just(100),
    patients=st.just(90),
    prevalence=st.just(0.4),
)


@pytest.mark.parametrize(
    ("calibration", "highest", "slices", "expected"),
    [
        (PLAIN, 0.9, 30, 0.9),
        (PLAIN, 0.9, 120, 0.9),
        (replace(PLAIN, growth=1.0), 0.9, 30, 0.9),
        (replace(PLAIN, growth=1.0), 0.9, 270, 0.5),  # odds of 9, nine times the slices
        (replace(PLAIN, growth=1.0), 0.5, 10, 0.75),  # odds of 1, a third of the slices
        (replace(PLAIN, scale=2.0), 0.75, 30, 0.9),  # odds of 3, squared
        (replace(PLAIN, bias=math.log(3)), 0.5, 30, 0.75),
        (replace(PLAIN, knots=KNOTS), 0.5, 30, 0.4),
        (replace(PLAIN, knots=KNOTS), 1 / (1 + math.exp(-1)), 30, 0.65),
        (replace(PLAIN, knots=KNOTS), 0.0, 30, 0.1),
        (replace(PLAIN, knots=KNOTS), 1.0, 30, 0.9),
    ],
)
def test_worked(calibration: ScanCalibration, highest: float, slices: int, expected: float) -> None:
    assert calibration.probability(highest, slices) == pytest.approx(expected, abs=1e-9)


@given(CALIBRATIONS, PROBABILITIES, PROBABILITIES, st.integers(1, 400))
def test_a_higher_slice_never_lowers_the_scan(c: ScanCalibration, a: float, b: float, slices: int) -> None:
    assert 0 <= c.probability(min(a, b), slices) <= c.probability(max(a, b), slices) + 1e-12 <= 1 + 1e-12


@given(CALIBRATIONS, PROBABILITIES, st.integers(1, 400), st.integers(1, 400))
def test_more_slices_never_raise_the_scan(c: ScanCalibration, highest: float, slices: int, more: int) -> None:
    assert c.probability(highest, slices + more) <= c.probability(highest, slices) + 1e-12


@given(CALIBRATIONS, st.lists(PROBABILITIES, min_size=1, max_size=8), PROBABILITIES, st.integers(0, 8))
def test_a_further_slice_that_is_not_the_highest_never_raises_the_scan(
    c: ScanCalibration, scan: list[float], further: float, place: int
) -> None:
    rule = ReadingRule(scan_calibrations={"any": c})
    longer = [*scan[:place], min(further, max(scan)), *scan[place:]]
    before, after = (conclude(prediction(*((p,) * 6 for p in rows)), rule).scan["any"] for rows in (scan, longer))
    assert after <= before + 1e-12


@given(CALIBRATIONS, PROBABILITIES, st.integers(1, 400))
def test_what_the_highest_slice_must_reach_is_found(c: ScanCalibration, wanted: float, slices: int) -> None:
    needed = c.highest_for(wanted, slices)
    if 0 < needed < 1:
        assert c.probability(needed, slices) >= wanted
        assert c.probability(needed * (1 - 1e-6), slices) <= wanted + 1e-9


def test_without_an_entry_the_scan_is_its_highest_slice_to_the_bit() -> None:
    finding = conclude(prediction((0.1 + 0.2,) * 6, (0.1,) * 6), ReadingRule())
    for found in finding.classes:
        assert found.probability == found.highest_slice == 0.1 + 0.2
        assert (found.calibration, found.slice_threshold) == (None, found.threshold)
    assert meaning_of_probabilities(finding) == HIGHEST_SLICE


def test_thresholds_are_held_against_the_calibrated_probability() -> None:
    """Nine times as many slices: odds of 9 are an even chance."""
    rule = ReadingRule(
        thresholds={"any": Threshold(present_from=0.6, absent_below=0.4)},
        scan_calibrations={"any": replace(PLAIN, growth=1.0)},
    )
    finding = conclude(prediction(*((0.9 - n / 1000,) * 6 for n in range(270))), rule)
    found = finding.classes[0]
    assert found.probability == pytest.approx(0.5)
    assert found.highest_slice == 0.9
    assert found.presence is Presence.UNDETERMINED
    assert finding.classes[1].presence is Presence.PRESENT
    assert found.slice_threshold.present_from == pytest.approx(13.5 / 14.5)
    assert [s.probabilities[0] for s in found.key_slices] == [0.9, 0.899, 0.898]


def test_slabs_count_once() -> None:
    rule = ReadingRule(scan_calibrations={"any": replace(PLAIN, growth=1.0)})
    thin = [(p,) * 6 for p in (0.1, 0.1, 0.1, 0.6, 0.6, 0.6)]
    assert conclude(prediction(*thin), rule).scan["any"] == conclude(prediction(*thin[::3]), rule).scan["any"]


def test_a_scan_without_slices_has_no_probability() -> None:
    with pytest.raises(ValueError, match="without slices"):
        PLAIN.probability(0.5, 0)


def test_the_words_say_how_on_whom_and_for_which_place() -> None:
    calibrations = dict.fromkeys(CLASSES[:5], replace(PLAIN, site_prevalence=0.05))
    words = meaning_of_probabilities(conclude(prediction((0.5,) * 6), ReadingRule(scan_calibrations=calibrations)))
    assert words == (
        "Scan probabilities: Platt-calibrated on 100 scans of 90 patients, 40 % with haemorrhage; set to 5.0 % here. "
        "Not calibrated, highest slice: epidural."
    )
