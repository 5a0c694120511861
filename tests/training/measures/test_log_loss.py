"""The challenge's metric, with and without all labels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.finding import CLASSES
from training.evaluation.submission import PREVALENCE
from training.measures.basic import weighted_log_loss
from training.measures.log_loss import LOSS_OVER_METRIC, constant_prevalence, log_loss, losses


def drawn(seed: int, rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.01, 0.99, (rows, 6)), (rng.random((rows, 6)) < 0.3).astype(np.int8)


@given(st.integers(0, 10_000))
def test_with_all_labels_it_is_the_metric(seed: int) -> None:
    p, y = drawn(seed)
    loss = log_loss(p, y)
    assert loss is not None
    assert loss.weighted == pytest.approx(weighted_log_loss(p, y == 1))
    assert loss.rows == 40


def test_it_is_a_transcription_of_the_paper_row_by_row() -> None:
    p, y = drawn(1, rows=7)
    total = 0.0
    for row in range(7):
        for c, weight in enumerate((2, 1, 1, 1, 1, 1)):
            said = p[row, c] if y[row, c] else 1 - p[row, c]
            total -= weight / 7 * math.log(said)
    loss = log_loss(p, y)
    assert loss is not None
    assert loss.weighted == pytest.approx(total / 7)


def test_the_training_loss_is_seven_sixths_of_it() -> None:
    """The recipe's loss (class weights 2, 1, 1, 1, 1, 1, mean over six) on the same predictions."""
    p, y = drawn(2)
    trained = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.logit(torch.tensor(p)), torch.tensor(y).double(), weight=torch.tensor([2.0, 1, 1, 1, 1, 1])
    )
    loss = log_loss(p, y)
    assert loss is not None
    assert trained.item() / loss.weighted == pytest.approx(LOSS_OVER_METRIC)


def test_an_unknown_label_leaves_its_class_alone() -> None:
    p, y = drawn(3)
    y[:10, 2] = -1
    loss, without = log_loss(p, y), log_loss(p[10:], y[10:])
    assert loss is not None
    assert without is not None
    assert loss.by_class["intraventricular"] == pytest.approx(without.by_class["intraventricular"])
    assert loss.by_class["any"] == pytest.approx(float(losses(p, y)[:, 0].mean()))
    assert np.isnan(losses(p, y)[:10, 2]).all()


def test_a_class_without_labels_gives_its_weight_to_the_others() -> None:
    p, y = drawn(4)
    y[:, 5] = -1
    loss = log_loss(p, y)
    assert loss is not None
    assert loss.by_class["epidural"] is None
    others = [loss.by_class[name] for name in CLASSES[:5]]
    assert loss.weighted == pytest.approx(sum(w * (v or 0) for w, v in zip((2, 1, 1, 1, 1), others, strict=True)) / 6)


def test_nothing_known_has_no_loss() -> None:
    assert log_loss(np.full((3, 6), 0.5), np.full((3, 6), -1, dtype=np.int8)) is None


def test_constant_prevalence_scores_0_2320() -> None:
    """paper.md gives prevalences in hundredths of a per cent, which leaves 0.00015 of the loss open."""
    assert constant_prevalence(np.array([PREVALENCE[name] for name in CLASSES])) == pytest.approx(0.2320, abs=1.5e-4)
