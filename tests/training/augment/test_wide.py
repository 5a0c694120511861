"""Each change has the distribution that the recipe states, and leaves alone what it must."""

import math

import pytest
import torch

from ichd.vision.preprocess import AIR_HU
from training.augment import wide
from training.recipe import WideAugmentation

STILL = WideAugmentation(
    flip_share=0.0,
    rotation_deg=0.0,
    scale=(1.0, 1.0),
    shear=0.0,
    shift_share=0.0,
    warp_share=0.0,
    offset_hu=0.0,
    contrast=(1.0, 1.0),
    bone_gain=(1.0, 1.0),
    shading_hu=0.0,
    noise_hu=(0.0, 0.0),
    blur_px=(0.0, 0.0),
    sharpen_share=0.0,
    coarse_share=0.0,
    streak_share=0.0,
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def changed(**amplitudes: object) -> WideAugmentation:
    return STILL.model_copy(update=amplitudes)


def head(windows: int = 2, slices: int = 3, size: int = 64) -> torch.Tensor:
    """A disc of brain in a ring of bone in air, int16 [V, S, G, G]."""
    axis = torch.arange(size) - (size - 1) / 2
    radius = (axis[:, None] ** 2 + axis[None, :] ** 2).sqrt() / (size / 2)
    hu = torch.full((size, size), AIR_HU)
    hu[radius < 0.8] = 1000
    hu[radius < 0.7] = 35
    return hu.to(torch.int16).expand(windows, slices, size, size).clone()


def blood(windows: int = 2, slices: int = 3, size: int = 32) -> torch.Tensor:
    """A square of subdural (bit 3) left of the middle, uint8 [V, S, g, g]."""
    label = torch.zeros(windows, slices, size, size, dtype=torch.uint8)
    label[:, :, 12:18, 6:12] = 1 << 3
    return label


def test_with_every_amplitude_at_zero_nothing_changes() -> None:
    hu, marks = wide.augment(head(), blood(), STILL, rng())
    assert torch.allclose(hu, head().float(), atol=1e-2)
    assert marks[:, :, 3].sum() == 2 * 3 * 36
    assert marks.sum() == marks[:, :, 3].sum()


def test_the_same_generator_gives_the_same_batch_and_another_a_different_one() -> None:
    first, same, other = (wide.augment(head(), blood(), WideAugmentation(), rng(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_image_and_label_move_together() -> None:
    """Blood that is brighter in the image by construction stays under its marks after any warp."""
    bright = head(windows=8)
    bright[:, :, 24:36, 12:24] = 70
    spec = changed(flip_share=0.5, rotation_deg=25.0, scale=(0.85, 1.1), shift_share=0.06, warp_share=0.01)
    hu, marks = wide.augment(bright, blood(windows=8), spec, rng())
    under = torch.nn.functional.interpolate(marks[:, :, 3], scale_factor=2) > 0
    assert under.any(dim=(1, 2, 3)).all()
    # The square's rim is interpolated into brain of 35 HU, its inside is not.
    assert (hu[under] > 52).float().mean() > 0.8
    assert (hu[torch.nn.functional.avg_pool2d(under.float(), 5, 1, 2) > 0.99] > 65).all()


def test_half_of_the_windows_are_flipped() -> None:
    matrix, _ = wide.draw_geometry(4000, changed(flip_share=0.5), rng())
    flipped = (matrix[:, 0, 0] < 0).float().mean().item()
    assert flipped == pytest.approx(0.5, abs=0.03)


def test_rotation_and_scale_fill_their_ranges_evenly() -> None:
    matrix, _ = wide.draw_geometry(8000, changed(rotation_deg=20.0, scale=(0.8, 1.25)), rng())
    angle = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]) * 180 / math.pi
    assert angle.abs().max() <= 20.01
    assert angle.std().item() == pytest.approx(40 / math.sqrt(12), rel=0.05)
    scale = 1 / torch.det(matrix[:, :, :2]).sqrt()
    assert scale.min() >= 0.799
    assert scale.max() <= 1.251
    assert scale.mean().item() == pytest.approx(1.025, abs=0.01)


def test_the_shift_stays_within_its_share_of_the_grid() -> None:
    matrix, _ = wide.draw_geometry(4000, changed(shift_share=0.06), rng())
    shift = matrix[:, :, 2] / 2
    assert shift.abs().max() <= 0.06
    assert shift.std().item() == pytest.approx(0.12 / math.sqrt(12), rel=0.05)


def test_tissue_keeps_its_order_under_any_draw() -> None:
    """A change that made blood darker than brain, or bone than blood, would teach the wrong thing."""
    ramp = torch.arange(-1000.0, 2500.0)
    spec = changed(offset_hu=4.0, contrast=(0.8, 1.3), bone_gain=(0.8, 1.2))
    out = wide.change_tissue(ramp.expand(500, 1, 1, -1), spec, rng())
    assert (out.diff(dim=-1) >= -1e-3).all()


def test_contrast_and_offset_have_the_stated_spread() -> None:
    grey_and_blood = torch.tensor([32.0, 62.0]).expand(8000, 1, 1, 2)
    out = wide.change_tissue(grey_and_blood, changed(offset_hu=3.0, contrast=(0.85, 1.25)), rng())
    assert out[..., 0].std().item() == pytest.approx(3.0, rel=0.05)
    contrast = (out[..., 1] - out[..., 0]) / 30
    assert contrast.min() >= 0.849
    assert contrast.max() <= 1.251


def test_noise_has_the_amplitude_of_its_range_and_stays_in_the_body() -> None:
    hu = head(windows=400, slices=1).float()
    added = wide.noise(hu, changed(noise_hu=(2.0, 6.0)), rng())
    body = hu[0] > -300
    assert (added[:, ~body] == 0).all()
    by_window = added[:, body].std(dim=1)
    # The square of a uniform draw over the range, times the slices' own spread: mean 2 + 4/3.
    assert by_window.mean().item() == pytest.approx(2 + 4 / 3, rel=0.1)
    assert added[:, body].mean().abs() < 0.1


@pytest.mark.parametrize("sigma", [0.0, 0.8, 1.5])
def test_blur_keeps_the_mean_and_spreads_a_point_as_a_gaussian(sigma: float) -> None:
    point = torch.zeros(1, 1, 33, 33)
    point[0, 0, 16, 16] = 1
    out = wide.blur(point, torch.tensor([sigma]))[0, 0]
    assert out.sum().item() == pytest.approx(1, abs=1e-4)
    axis = torch.arange(33.0) - 16
    assert ((out.sum(0) * axis**2).sum().sqrt()).item() == pytest.approx(sigma, abs=0.05)


def test_streaks_are_on_the_stated_share_of_slices() -> None:
    hu = head(windows=200, slices=5, size=16).float()
    bands = wide.streaks(hu, changed(streak_share=0.3, streak_hu=10.0), rng())
    touched = (bands != 0).any(dim=3).any(dim=2).float().mean().item()
    assert touched == pytest.approx(0.3, abs=0.05)
