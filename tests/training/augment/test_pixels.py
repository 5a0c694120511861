"""Noise and blur have the shares and amplitudes of the authors' code, and touch only the slices that drew them."""

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.training.augment.batches import still
from training.augment.pixels import (
    CHANNEL_NOISE,
    MEAN,
    MEDIAN,
    SHARED_NOISE,
    PixelChanges,
    add_noise,
    blur,
    draw_pixel_changes,
    mean,
    median,
)
from training.recipe import PaperAugmentation

MANY = 20_000
UNLIKELY = 1e-3


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noises(kind: int, count: int, spec: PaperAugmentation | None = None) -> PixelChanges:
    """Of slices that all have one kind of noise."""
    drawn = draw_pixel_changes(MANY, spec or still(noise_share=1.0), rng())
    of_kind = torch.nonzero(drawn.noise_N == kind).flatten()[:count]
    return PixelChanges(
        noise_N=drawn.noise_N[of_kind], noise_std_N=drawn.noise_std_N[of_kind], blur_N=drawn.blur_N[of_kind]
    )


def test_nothing_weighs_half_in_each_group_and_groups_are_independent() -> None:
    """OneOf(noise, noise, NoOp) and OneOf(median, mean, NoOp), each with p 0.5; NoOp's own p is 0.5, the others' 1."""
    changes = draw_pixel_changes(MANY, PaperAugmentation(), rng())
    share = 0.5 / 2.5
    error = 4 * math.sqrt(share * (1 - share) / MANY)
    for kinds, names in ((changes.noise_N, (SHARED_NOISE, CHANNEL_NOISE)), (changes.blur_N, (MEDIAN, MEAN))):
        for kind in names:
            assert (kinds == kind).double().mean().item() == pytest.approx(share, abs=error)
    table = torch.zeros(3, 3).index_put_((changes.noise_N, changes.blur_N), torch.ones(MANY), accumulate=True)
    assert stats.chi2_contingency(table.numpy()).pvalue > UNLIKELY


def test_one_kind_has_an_even_standard_deviation_the_other_an_even_variance() -> None:
    """imgaug: std in (0.01 * 255, 0.05 * 255); albumentations: variance in (10, 50)."""
    std = noises(SHARED_NOISE, MANY).noise_std_N.double() * 255
    assert stats.kstest(std.numpy(), stats.uniform(0.01 * 255, 0.04 * 255).cdf).pvalue > UNLIKELY
    variance = (noises(CHANNEL_NOISE, MANY).noise_std_N.double() * 255) ** 2
    assert stats.kstest(variance.numpy(), stats.uniform(10, 40).cdf).pvalue > UNLIKELY


@pytest.mark.parametrize("kind", [SHARED_NOISE, CHANNEL_NOISE])
def test_noise_is_white_and_normal_with_the_drawn_amplitude(kind: int) -> None:
    changes = noises(kind, 20)
    values = torch.full((20, 3, 64, 64), 0.5)
    add_noise(values, changes, rng(3))
    field = (values - 0.5).double()
    for number in range(20):
        unit = (field[number, 0] / changes.noise_std_N[number]).flatten()
        assert unit.std().item() == pytest.approx(1, abs=4 / math.sqrt(2 * 64 * 64))
        assert stats.kstest(unit.numpy(), stats.norm.cdf).pvalue > UNLIKELY
    beside = (field[..., 1:] * field[..., :-1]).mean() / (field**2).mean()
    assert abs(beside.item()) < 0.01


def test_channels_share_the_first_kind_and_have_each_their_own_of_the_second() -> None:
    values = torch.full((2, 3, 64, 64), 0.5)
    changes = PixelChanges(
        noise_N=torch.tensor([SHARED_NOISE, CHANNEL_NOISE]),
        noise_std_N=torch.tensor([0.03, 0.03]),
        blur_N=torch.zeros(2, dtype=torch.int64),
    )
    add_noise(values, changes, rng())
    assert torch.equal(values[0, 0], values[0, 1])
    assert torch.equal(values[0, 0], values[0, 2])
    between = torch.corrcoef(values[1].flatten(1)) - torch.eye(3)
    assert between.abs().max() < 4 / 64


def test_black_and_white_are_clipped_as_images_of_8_bits_are() -> None:
    values = torch.zeros(2, 3, 32, 32)
    values[1] = 1
    add_noise(values, noises(SHARED_NOISE, 2), rng())
    assert values.min() == 0
    assert values.max() == 1
    assert 0.4 < (values[0] == 0).double().mean().item() < 0.6


def test_noise_of_slices_differs_and_the_others_keep_theirs_to_the_bit() -> None:
    values = torch.rand(5, 3, 16, 16, generator=rng())
    before = values.clone()
    changes = PixelChanges(
        noise_N=torch.tensor([0, SHARED_NOISE, 0, SHARED_NOISE, CHANNEL_NOISE]),
        noise_std_N=torch.tensor([0.0, 0.02, 0.0, 0.02, 0.02]),
        blur_N=torch.tensor([MEAN, 0, 0, 0, 0]),
    )
    add_noise(values, changes, rng())
    assert torch.equal(values[[0, 2]], before[[0, 2]])
    assert not torch.equal((values - before)[1], (values - before)[3])
    assert (values[[1, 3, 4]] != before[[1, 3, 4]]).double().mean() > 0.9
    noisy = values.clone()
    blur(values, changes)
    assert torch.equal(values[1:], noisy[1:])
    assert not torch.equal(values[0], noisy[0])


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(3, 20), st.integers(3, 20))
def test_median_and_mean_are_opencvs(seed: int, rows: int, columns: int) -> None:
    image = np.random.default_rng(seed).random((rows, columns), dtype=np.float32)
    values = torch.from_numpy(image)[None, None]
    np.testing.assert_array_equal(median(values)[0, 0].numpy(), cv2.medianBlur(image, 3))
    np.testing.assert_allclose(mean(values)[0, 0].numpy(), cv2.blur(image, (3, 3)), atol=1e-6)


def test_padding_is_given_nothing() -> None:
    real = torch.tensor([True, False] * 500)
    changes = draw_pixel_changes(1000, still(noise_share=1.0, blur_share=1.0), rng()).only(real)
    assert (changes.noise_N[~real] == 0).all()
    assert (changes.blur_N[~real] == 0).all()
    assert (changes.noise_N[real] != 0).double().mean() > 0.7
