"""CutMix is the authors': box, share and partners, against a transcription of what their code does."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from training.augment.cutmix import CutMix, draw_cutmix, mix

ALL_REAL = torch.ones(12, dtype=torch.bool)
UNLIKELY = 1e-3


def draws(count: int, *, size: int = 512, alpha: float = 1.0, seed: int = 0) -> list[CutMix]:
    rng = np.random.default_rng(seed)
    return [draw_cutmix(ALL_REAL, size, alpha, rng) for _ in range(count)]


def authors_box(rng: np.random.RandomState, size: int, alpha: float) -> tuple[int, int, int, int, float]:
    """x1, x2, y1, y2 and lambda: a middle anywhere, whole sides, their halves rounded down, cut at the border."""
    lam = rng.beta(alpha, alpha)
    x, y = rng.randint(size), rng.randint(size)
    half = int(math.sqrt(1.0 - lam) * size) // 2
    x1, x2, y1, y2 = max(x - half, 0), min(x + half, size), max(y - half, 0), min(y + half, size)
    return x1, x2, y1, y2, 1 - (x2 - x1) * (y2 - y1) / (size * size)


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_boxes_and_shares_have_the_authors_distribution(alpha: float) -> None:
    rng = np.random.RandomState(7)
    theirs = np.array([authors_box(rng, 512, alpha) for _ in range(6000)])
    ours = np.array(
        [(c.columns.start, c.columns.stop, c.rows.start, c.rows.stop, c.mixing) for c in draws(6000, alpha=alpha)]
    )
    for number in range(5):
        assert stats.ks_2samp(theirs[:, number], ours[:, number]).pvalue > UNLIKELY


def test_the_share_is_by_the_exact_area_of_the_box() -> None:
    for cutmix in draws(300, size=37):
        marked = np.zeros((37, 37))
        marked[cutmix.rows, cutmix.columns] = 1
        assert cutmix.mixing == pytest.approx(1 - marked.mean())
        assert 0 <= cutmix.mixing <= 1


def test_beta_1_1_is_even_where_the_border_cuts_nothing() -> None:
    """Of boxes that lie inside, the area is 1 - lambda; those are the smaller, so compare what they must be."""
    rng = np.random.default_rng(3)
    lam = rng.beta(1.0, 1.0, size=20_000)
    assert stats.kstest(lam, stats.uniform.cdf).pvalue > UNLIKELY
    sides = [c.rows.stop - c.rows.start for c in draws(4000) if c.rows.start > 0 and c.rows.stop < 512]
    assert all(side % 2 == 0 for side in sides)


def test_the_middle_lies_anywhere() -> None:
    """By the uncut edge: with half-width h an inner box starts at middle - h, every middle equally likely."""
    inner = [
        (c.rows.start + c.rows.stop) / 2
        for c in draws(8000)
        if c.rows.stop - c.rows.start <= 100 and c.rows.start > 0 and c.rows.stop < 512
    ]
    assert stats.kstest([m for m in inner if 60 <= m < 450], stats.uniform(60, 390).cdf).pvalue > UNLIKELY


@given(st.lists(st.booleans(), min_size=1, max_size=20), st.integers(0, 2**32))
def test_partners_are_a_permutation_of_the_real_slices_and_padding_is_its_own(real: list[bool], seed: int) -> None:
    real_N = torch.tensor(real)
    permutation = draw_cutmix(real_N, 64, 1.0, np.random.default_rng(seed)).permutation_N
    assert torch.equal(permutation.sort().values, torch.arange(len(real)))
    assert torch.equal(permutation[~real_N], torch.arange(len(real))[~real_N])
    assert real_N[permutation[real_N]].all()


def test_every_partner_is_equally_likely() -> None:
    counts = torch.zeros(12, 12)
    for cutmix in draws(3000):
        counts[torch.arange(12), cutmix.permutation_N] += 1
    assert stats.chisquare(counts.flatten().numpy()).pvalue > UNLIKELY


@given(st.integers(0, 2**32))
def test_inside_the_box_is_the_partners_and_outside_the_slices_own(seed: int) -> None:
    values = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    real = torch.tensor([True, True, False, True, False])
    cutmix = draw_cutmix(real, 16, 1.0, np.random.default_rng(seed))
    expected = values.numpy().copy()
    for number in range(5):
        partner = int(cutmix.permutation_N[number])
        expected[number][:, cutmix.rows, cutmix.columns] = values[partner][:, cutmix.rows, cutmix.columns].numpy()
    mix(values, cutmix)
    np.testing.assert_array_equal(values.numpy(), expected)


def test_one_slice_alone_is_mixed_with_itself() -> None:
    values = torch.rand(1, 3, 16, 16)
    before = values.clone()
    mix(values, draw_cutmix(torch.tensor([True]), 16, 1.0, np.random.default_rng(0)))
    assert torch.equal(values, before)
