"""Who passes the gate: figures against plain transcriptions, and a verdict that follows from them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ichd.domain.errors import UserError
from training.evaluation.gate import compare
from training.measures.basic import weighted_log_loss
from training.packed.reading import ScanReading


def readings(seed: int, *, skill: float, scans: int = 30, slices: int = 4) -> list[ScanReading]:
    """Scans of which every other bleeds; the same truth for one seed, told the better the more `skill` there is."""
    found = []
    for number in range(scans):
        rng = np.random.default_rng([seed, number])
        truth_SC = np.zeros((slices, 6), dtype=np.int8)
        if number % 2:
            truth_SC[1:3, [0, 1 + number % 5]] = 1
        noise_SC = rng.normal(size=(slices, 6))
        p_SC = 1 / (1 + np.exp(-(skill * (2.0 * truth_SC - 1) + noise_SC)))
        found.append(
            ScanReading(
                study_id=f"s{number}",
                patient_id=f"p{number // 2}",
                image_ids=tuple((f"{number}/{index}",) for index in range(slices)),
                z_mm=tuple(float(index) for index in range(slices)),
                p_SC=p_SC,
                truth_SC=truth_SC,
                truth_C=truth_SC.max(axis=0),
            )
        )
    return found


def test_the_figures_are_those_of_their_definitions() -> None:
    before, after = readings(1, skill=1.0), readings(1, skill=0.5)

    result = compare(before, after, 0.01, draws=200)

    truth = np.array([r.truth_C[0] for r in before])
    for figures, said in ((result.current, before), (result.candidate, after)):
        assert figures.auc_any_scan == pytest.approx(roc_auc_score(truth, [r.p_SC[:, 0].max() for r in said]))
        slices, labels = np.concatenate([r.p_SC for r in said]), np.concatenate([r.truth_SC for r in said])
        assert figures.auc_any_slice == pytest.approx(roc_auc_score(labels[:, 0], slices[:, 0]))
        assert figures.weighted_log_loss == pytest.approx(weighted_log_loss(slices, labels == 1))
    assert (result.scans, result.scans_with_bleed, result.patients) == (30, 15, 15)
    assert result.log_loss_by == "slice"
    assert result.auc_difference.value == pytest.approx(result.candidate.auc_any_scan - result.current.auc_any_scan)


def test_a_model_passes_against_itself_and_nothing_is_uncertain() -> None:
    said = readings(2, skill=1.0)

    result = compare(said, said, 0.0, draws=200)

    assert result.passed
    assert (result.auc_difference.low, result.auc_difference.high) == (0.0, 0.0)
    assert result.remarks == ()


def test_a_better_one_passes_and_a_worse_one_is_told_why() -> None:
    good, poor = readings(3, skill=2.0), readings(3, skill=0.3)

    assert compare(poor, good, 0.0, draws=200).passed
    refused = compare(good, poor, 0.01, draws=200)
    assert not refused.passed
    assert any("AUC of any haemorrhage by scan is lower" in why for why in refused.objections)
    assert any("weighted log loss is higher" in why for why in refused.objections)
    assert compare(good, poor, 1.0, draws=200).passed, "whoever states such a margin gets it"


def test_a_set_that_is_too_small_to_be_sure_says_so() -> None:
    result = compare(readings(4, skill=1.0, scans=12), readings(5, skill=1.0, scans=12), 0.01, draws=200)

    assert result.auc_difference.low < -0.01
    assert "too few to be sure" in result.remarks[0]


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 10_000), st.floats(0.0, 0.3))
def test_the_verdict_follows_from_the_two_figures_that_decide(seed: int, margin: float) -> None:
    result = compare(readings(seed, skill=1.0, scans=16), readings(seed, skill=0.7, scans=16), margin, draws=200)

    ok = result.auc_difference.value >= -margin and result.log_loss_difference.value <= margin
    assert result.passed is ok
    for difference in (result.auc_difference, result.log_loss_difference):
        assert difference.low <= difference.high
    json.dumps(result.to_record(), allow_nan=False)


def test_where_scans_are_labelled_as_a_whole_the_loss_is_by_scan() -> None:
    said = readings(6, skill=1.0)
    for reading in said:
        reading.truth_SC[reading.truth_SC == 1] = -1

    result = compare(said, said, 0.01, draws=200)

    assert result.log_loss_by == "scan"
    p_NC = np.stack([reading.p_SC.max(axis=0) for reading in said])
    truth_NC = np.stack([reading.truth_C for reading in said]) == 1
    assert result.current.weighted_log_loss == pytest.approx(weighted_log_loss(p_NC, truth_NC))


def test_scans_that_all_bleed_tell_nothing() -> None:
    bleeding = [reading for reading in readings(7, skill=1.0) if reading.truth_C[0]]

    with pytest.raises(UserError, match="some of both"):
        compare(bleeding, bleeding, 0.01, draws=200)
