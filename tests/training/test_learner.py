"""Loss and optimiser groups against plain transcriptions of the paper."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.lessons.making import lesson
from training.learner import Learner, losses, parameter_groups, weighted_bce
from training.measures.basic import METRIC_WEIGHTS, weighted_log_loss
from training.recipe import Loss, load_recipe

PAPER = Loss()


def plain_loss(logits: Tensor, target: Tensor) -> float:
    """BCE with logits, class weights 2,1,1,1,1,1 (any first), mean over slices and over the six (paper, loss)."""
    total, count = 0.0, 0
    for row, wanted in zip(logits.reshape(-1, 6).tolist(), target.reshape(-1, 6).tolist(), strict=True):
        for weight, logit, y in zip((2, 1, 1, 1, 1, 1), row, wanted, strict=True):
            p = 1 / (1 + math.exp(-logit))
            total -= weight * (y * math.log(p) + (1 - y) * math.log(1 - p))
            count += 1
    return total / count


@pytest.fixture
def answers() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(3, 5, 6, generator=generator)
    return logits, (torch.rand(3, 5, 6, generator=generator) < 0.3).float()


def test_the_loss_is_the_papers(answers: tuple[Tensor, Tensor]) -> None:
    logits, target = answers
    ours = weighted_bce(logits, target, torch.ones_like(target), PAPER)
    assert float(ours) == pytest.approx(plain_loss(logits, target), rel=1e-5)


def test_the_loss_is_seven_sixths_of_the_metric(answers: tuple[Tensor, Tensor]) -> None:
    """The trap: a training loss of 0.07 is a metric of 0.06."""
    logits, target = answers
    ours = float(weighted_bce(logits, target, torch.ones_like(target), PAPER))
    p, y = logits.sigmoid().double().reshape(-1, 6).numpy(), target.bool().reshape(-1, 6).numpy()
    assert ours == pytest.approx(7 / 6 * weighted_log_loss(p, y), rel=1e-5)
    assert np.isclose(sum(METRIC_WEIGHTS), 1)


def test_padding_and_unknown_labels_count_for_nothing(answers: tuple[Tensor, Tensor]) -> None:
    logits, target = answers
    weight = torch.ones_like(target)
    weight[1, 3:] = 0
    wild = logits.clone()
    wild[1, 3:] = 1e4
    known = torch.cat([logits[0], logits[1, :3], logits[2]])
    wanted = torch.cat([target[0], target[1, :3], target[2]])
    assert float(weighted_bce(wild, target, weight, PAPER)) == pytest.approx(plain_loss(known, wanted), rel=1e-5)


def test_cutmix_shares_the_loss_by_area(answers: tuple[Tensor, Tensor]) -> None:
    logits, target = answers
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    mixed = lesson(target, mixed_with=order, own_share=0.7)
    other = target.flatten(0, 1)[order].reshape(target.shape)
    expected = 0.7 * plain_loss(logits, target) + 0.3 * plain_loss(logits, other)
    assert float(losses((logits, []), mixed, PAPER).slices) == pytest.approx(expected, rel=1e-5)


def test_what_a_scan_has_somewhere_pulls_its_highest_slice_alone(answers: tuple[Tensor, Tensor]) -> None:
    logits, target = answers
    logits = logits.clone().requires_grad_()
    unknown = lesson(torch.zeros_like(target), weight=torch.zeros_like(target), lengths=[5, 3, 5])
    unknown.somewhere_VC[1, 4] = 1
    losses((logits, []), unknown, PAPER).total.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    pulled = torch.nonzero(logits.grad).tolist()
    assert pulled == [[1, int(logits[1, :3, 4].argmax()), 4]]
    assert logits.grad[tuple(pulled[0])] < 0


def test_weights_decay_and_biases_do_not() -> None:
    """Weight decay 1e-2, 0 on biases (paper, optimiser): norms' weights decay, the LSTM's biases don't."""
    recipe = load_recipe("resnet50", {"init": None, "network.backbone": "resnet10t"})
    learner = Learner(recipe)
    names = {id(parameter): name for name, parameter in learner.named_parameters()}
    decayed, plain = parameter_groups(learner, recipe.optimisation)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (1e-2, 0.0)
    assert {names[id(p)] for p in plain["params"]} == {name for name in names.values() if "bias" in name}
    assert len(decayed["params"]) + len(plain["params"]) == len(names)


def test_the_head_starts_from_zero_bias() -> None:
    learner = Learner(load_recipe("resnet50", {"init": None, "network.backbone": "resnet10t"}))
    assert not learner.network.decoder.fc.bias.any()
