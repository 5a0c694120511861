"""From probabilities to triage: a worked table, and what holds for all predictions."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.errors import Permanent
from ichd.domain.finding import (
    CLASSES,
    ModelIdentity,
    Prediction,
    Presence,
    ReadingRule,
    SlicePrediction,
    Threshold,
    Triage,
    conclude,
)
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason

MODEL = ModelIdentity(name="test", version="1", weights_sha256="ab" * 32, bundle_sha256="cd" * 32)
GREY = Threshold(present_from=0.7, absent_below=0.3)
RULE = ReadingRule(thresholds=dict.fromkeys(CLASSES, GREY))
PROBABILITIES = st.tuples(*[st.floats(0, 1)] * len(CLASSES))


def prediction(*rows: tuple[float, ...]) -> Prediction:
    slices = (
        SlicePrediction(sop_instance_uid=f"1.2.{n}", sop_class_uid="1.2.840", z_mm=5.0 * n, probabilities=row)
        for n, row in enumerate(rows)
    )
    return Prediction(
        study_instance_uid="1.2", series_instance_uid="1.2.3", model=MODEL, slices=tuple(slices), timings_ms={}
    )


@pytest.mark.parametrize(
    ("scan", "triage"),
    [
        # any, then the five kinds
        ((0.9, 0.9, 0.0, 0.0, 0.0, 0.0), Triage.URGENT),
        ((0.7, 0.0, 0.0, 0.0, 0.0, 0.0), Triage.URGENT),  # the kind may stay open
        ((0.69, 0.0, 0.0, 0.0, 0.0, 0.0), Triage.INDETERMINATE),
        ((0.3, 0.0, 0.0, 0.0, 0.0, 0.0), Triage.INDETERMINATE),
        ((0.29, 0.29, 0.29, 0.29, 0.29, 0.29), Triage.ROUTINE),
        ((0.1, 0.0, 0.0, 0.0, 0.9, 0.0), Triage.INDETERMINATE),  # a kind contradicts `any`
        ((0.1, 0.0, 0.0, 0.0, 0.0, 0.3), Triage.ROUTINE),  # doubt about a kind does not
    ],
)
def test_triage_worked(scan: tuple[float, ...], triage: Triage) -> None:
    assert conclude(prediction(scan), RULE).triage is triage


@pytest.mark.parametrize(
    ("note", "triage"),
    [
        (Note(remark=Remark.IMAGES_LEFT_OUT, detail="14 beside 20 that were read"), Triage.INDETERMINATE),
        (Note(remark=Remark.SLICES_MISSING, detail="10 mm between 15 and 25 mm"), Triage.INDETERMINATE),
        (Note(remark=Remark.SLICES_SPOILED, detail="at 5 mm"), Triage.INDETERMINATE),
        (Note(remark=Remark.BASE_MISSING, detail="about 57 mm of brain", unseen=True), Triage.INDETERMINATE),
        (Note(remark=Remark.BASE_MISSING, detail="about 13 mm of brain"), Triage.ROUTINE),
        (Note(remark=Remark.SHARP_KERNEL), Triage.ROUTINE),
    ],
)
def test_what_was_not_seen_is_not_routine_but_urgent_all_the_same(note: Note, triage: Triage) -> None:
    quiet, bleed = prediction(*[(0.01,) * 6] * 8), prediction(*[(0.9,) * 6] * 8)
    assert conclude(replace(quiet, notes=(note,)), RULE).triage is triage
    assert conclude(replace(bleed, notes=(note,)), RULE).triage is Triage.URGENT


@pytest.mark.parametrize(
    ("gone", "triage"), [((), Triage.ROUTINE), ((4,), Triage.INDETERMINATE), ((4, 5), Triage.INDETERMINATE)]
)
def test_slices_that_are_missing_make_no_routine_study(gone: tuple[int, ...], triage: Triage) -> None:
    whole = prediction(*[(0.01,) * 6] * 10)
    slices = tuple(s for n, s in enumerate(whole.slices) if n not in gone)
    assert conclude(replace(whole, slices=slices), RULE).triage is triage


def test_scan_level_is_the_highest_slice_and_names_the_slices_that_show_it() -> None:
    finding = conclude(prediction(*((p,) + (0.0,) * 5 for p in (0.1, 0.8, 0.95, 0.4, 0.71))), RULE)
    any_haemorrhage, *kinds = finding.classes
    assert finding.scan["any"] == any_haemorrhage.probability == 0.95
    assert any_haemorrhage.presence is Presence.PRESENT
    assert [s.probabilities[0] for s in any_haemorrhage.key_slices] == [0.95, 0.8, 0.71]
    assert [k.key_slices for k in kinds] == [()] * 5
    assert [k.name for k in finding.classes] == list(CLASSES)


def test_of_thin_slices_that_were_read_as_one_slab_the_middle_one_is_shown() -> None:
    rows = [(p,) + (0.0,) * 5 for p in (0.6, 0.6, 0.6, 0.9, 0.9, 0.9, 0.9, 0.9, 0.7)]
    key_slices = conclude(prediction(*rows), RULE).classes[0].key_slices
    assert [s.sop_instance_uid for s in key_slices] == ["1.2.5", "1.2.8", "1.2.1"]


def test_an_undetermined_class_names_its_slices_too() -> None:
    finding = conclude(prediction((0.5,) + (0.0,) * 5, (0.1,) + (0.0,) * 5), RULE)
    assert finding.classes[0].presence is Presence.UNDETERMINED
    assert [s.sop_instance_uid for s in finding.classes[0].key_slices] == ["1.2.0"]


def test_a_class_without_thresholds_is_called_at_one_half() -> None:
    finding = conclude(prediction((0.5, 0.4999, 0.0, 0.0, 0.0, 0.0)), ReadingRule())
    assert [c.presence for c in finding.classes[:2]] == [Presence.PRESENT, Presence.ABSENT]


def test_no_slices_no_finding() -> None:
    with pytest.raises(ValueError, match="without slices"):
        conclude(prediction(), RULE)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -0.001, 1.001])
@pytest.mark.parametrize("place", range(6))
def test_what_is_no_probability_is_no_finding(wrong: float, place: int) -> None:
    """A NaN compares false with everything: unchecked, it would hide the slice with the bleed."""
    row = [0.1] * 6
    row[place] = wrong
    with pytest.raises(Permanent) as caught:
        conclude(prediction((0.1,) * 6, tuple(row)), RULE)
    assert caught.value.reason is Reason.MODEL_UNUSABLE


def test_a_model_with_other_classes_is_no_finding() -> None:
    with pytest.raises(Permanent):
        conclude(prediction((0.1,) * 5), RULE)


@given(st.lists(PROBABILITIES, min_size=1, max_size=20), st.integers(1, 5))
def test_findings_hold_together(rows: list[tuple[float, ...]], max_key_slices: int) -> None:
    rule = ReadingRule(thresholds=RULE.thresholds, max_key_slices=max_key_slices)
    finding = conclude(prediction(*rows), rule)
    for index, kind in enumerate(finding.classes):
        assert kind.probability == max(row[index] for row in rows)
        shown = [s.probabilities[index] for s in kind.key_slices]
        assert shown == sorted(shown, reverse=True)
        assert len(shown) <= max_key_slices
        assert (kind.presence is Presence.ABSENT) == (not shown)
        assert not shown or shown[0] == kind.probability
    any_haemorrhage, *kinds = finding.classes
    assert (finding.triage is Triage.ROUTINE) == (
        any_haemorrhage.presence is Presence.ABSENT and all(c.presence is not Presence.PRESENT for c in kinds)
    )


@given(st.lists(PROBABILITIES, min_size=2, max_size=10))
def test_the_order_of_slices_does_not_change_the_call(rows: list[tuple[float, ...]]) -> None:
    there, back = conclude(prediction(*rows), RULE), conclude(prediction(*rows[::-1]), RULE)
    assert (there.scan, there.triage) == (back.scan, back.triage)
