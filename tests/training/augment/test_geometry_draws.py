"""What is drawn for a slice has the distributions of the authors' augmentation.

Oracles are written down from paper.md and from the semantics of albumentations 0.4, which the authors used.
"""

import math
import random

import numpy as np
import pytest
import torch
from scipy import stats

from tests.training.augment.batches import still
from training.augment.geometry import GRID_DISTORTION, OPTICAL_DISTORTION, SHIFT_SCALE_ROTATE, Geometry, draw_geometry
from training.recipe import PaperAugmentation

MANY = 20_000
#: With fixed seeds a test of fit gives one answer for ever; a wrong distribution of 20,000 draws is far below this.
UNLIKELY = 1e-3


def drawn(spec: PaperAugmentation | None = None, *, count: int = MANY, seed: int = 1) -> Geometry:
    return draw_geometry(count, spec or PaperAugmentation(), torch.Generator().manual_seed(seed))


def assert_even(values: torch.Tensor, low: float, high: float) -> None:
    """Uniform between the two, all of it."""
    assert stats.kstest(values.double().numpy(), stats.uniform(low, high - low).cdf).pvalue > UNLIKELY
    assert values.min() >= low - 1e-5
    assert values.max() <= high + 1e-5


def assert_share(chosen: torch.Tensor, share: float) -> None:
    """Within four standard errors."""
    error = math.sqrt(share * (1 - share) / len(chosen))
    assert chosen.double().mean().item() == pytest.approx(share, abs=4 * error)


def random_resized_crop(rng: random.Random) -> tuple[float, float, float, float]:
    """Width, height, left and top as shares, as the library draws them: ten tries, then the whole image."""
    for _ in range(10):
        area = rng.uniform(0.8, 1.0)
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        width, height = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if width <= 1 and height <= 1:
            return width, height, rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return 1.0, 1.0, 0.0, 0.0


def test_the_crop_is_drawn_as_the_library_draws_it() -> None:
    rng = random.Random(0)
    theirs = np.array([random_resized_crop(rng) for _ in range(MANY)])
    ours = drawn()
    sides, corner = ours.crop_half_N2, (1 + ours.crop_middle_N2 - ours.crop_half_N2) / 2
    for number, values in enumerate((sides[:, 0], sides[:, 1], corner[:, 0], corner[:, 1])):
        assert stats.ks_2samp(theirs[:, number], values.numpy()).pvalue > UNLIKELY
    assert stats.ks_2samp(theirs[:, 0] * theirs[:, 1], sides.prod(dim=1).numpy()).pvalue > UNLIKELY


def test_area_and_aspect_follow_the_law_of_those_that_fit() -> None:
    """Log-uniform aspect within what fits: log r is even on +-log a, so that small crops are the likelier ones."""
    width, height = drawn().crop_half_N2.double().T
    cropped = (width < 1) | (height < 1)
    area, log_aspect = (width * height)[cropped], (width / height).log()[cropped]
    assert area.min() >= 0.8 - 1e-5
    assert log_aspect.abs().max() <= math.log(4 / 3) + 1e-5
    assert_even(log_aspect / -area.log(), -1.0, 1.0)

    # Among those that fit, an area is as likely as -log a; by its distribution it becomes even.
    below = (area - area * area.log()) - (0.8 - 0.8 * math.log(0.8))
    assert_even(below / (1 - (0.8 - 0.8 * math.log(0.8))), 0.0, 1.0)


def test_where_ten_tries_do_not_fit_the_whole_image_stays() -> None:
    """A try fits with the mean of -log a over log 4/3; the paper crops all but one in a hundred slices."""
    fits = (0.2 + 0.8 * math.log(0.8)) / 0.2 / math.log(4 / 3)
    assert_share((drawn().crop_half_N2 == 1).all(dim=1), (1 - fits) ** 10)


def test_a_crop_lies_anywhere_in_the_image_and_never_outside() -> None:
    geometry = drawn()
    half, middle = geometry.crop_half_N2, geometry.crop_middle_N2
    assert (half + middle.abs() <= 1 + 1e-6).all()
    free = half < 1 - 1e-3
    assert_even((middle / (1 - half).clamp(min=1e-6))[free], -1.0, 1.0)


def test_half_of_the_slices_are_flipped_and_never_along_both_axes() -> None:
    flip = drawn().flip_N2
    assert_share(flip[:, 0] == -1, 0.25)
    assert_share(flip[:, 1] == -1, 0.25)
    assert not (flip == -1).all(dim=1).any()


def test_one_warp_at_most_and_nothing_weighs_half_of_a_change() -> None:
    """The library's NoOp has p 0.5, the changes 1, and the group itself 0.5."""
    geometry = drawn()
    for kind in (SHIFT_SCALE_ROTATE, GRID_DISTORTION, OPTICAL_DISTORTION):
        assert_share(geometry.warp_N == kind, 0.5 / 3.5)
    turned = (geometry.angle_N != 0) | (geometry.scale_N != 1) | (geometry.shift_N2 != 0).any(dim=1)
    uneven = (geometry.steps_x_NK != 1).any(dim=1) | (geometry.steps_y_NK != 1).any(dim=1)
    bent = geometry.bend_N != 0
    assert (turned.int() + uneven.int() + bent.int()).max() == 1
    assert torch.equal(turned, geometry.warp_N == SHIFT_SCALE_ROTATE)
    assert torch.equal(uneven, geometry.warp_N == GRID_DISTORTION)
    assert torch.equal(bent, geometry.warp_N == OPTICAL_DISTORTION)


def test_amplitudes_fill_the_published_ranges_evenly() -> None:
    geometry = drawn(still(warp_share=1.0))
    turned, uneven, bent = (
        geometry.warp_N == kind for kind in (SHIFT_SCALE_ROTATE, GRID_DISTORTION, OPTICAL_DISTORTION)
    )
    assert_even(geometry.angle_N[turned] * (180 / math.pi), -30.0, 30.0)
    assert_even(geometry.scale_N[turned], 0.9, 1.1)
    assert_even(geometry.shift_N2[turned].flatten(), -0.0625, 0.0625)
    assert_even(geometry.steps_x_NK[uneven].flatten(), 0.8, 1.2)
    assert_even(geometry.steps_y_NK[uneven].flatten(), 0.8, 1.2)
    assert_even(geometry.bend_N[bent], -0.2, 0.2)
    assert geometry.steps_x_NK.shape == (MANY, 5)


def test_slices_are_drawn_each_by_itself_and_amplitudes_do_not_hang_together() -> None:
    geometry = drawn(still(warp_share=1.0))
    turned = geometry.warp_N == SHIFT_SCALE_ROTATE
    columns = torch.stack(
        [
            geometry.angle_N[turned],
            geometry.scale_N[turned],
            geometry.shift_N2[turned, 0],
            geometry.shift_N2[turned, 1],
            geometry.angle_N[turned].roll(1),
        ]
    ).double()
    unrelated = torch.corrcoef(columns) - torch.eye(5)
    assert unrelated.abs().max() < 4 / math.sqrt(int(turned.sum()))


def test_a_seed_gives_one_draw_and_another_a_different_one() -> None:
    first, same, other = drawn(count=50, seed=3), drawn(count=50, seed=3), drawn(count=50, seed=4)
    assert torch.equal(first.crop_half_N2, same.crop_half_N2)
    assert torch.equal(first.angle_N, same.angle_N)
    assert not torch.equal(first.crop_half_N2, other.crop_half_N2)


def test_with_every_share_at_zero_nothing_is_drawn() -> None:
    geometry = drawn(still(), count=200)
    assert (geometry.crop_half_N2 == 1).all()
    assert (geometry.crop_middle_N2 == 0).all()
    assert (geometry.flip_N2 == 1).all()
    assert (geometry.warp_N == 0).all()
