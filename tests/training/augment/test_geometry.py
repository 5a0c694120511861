"""A point of the network's grid comes from where the authors' libraries would have fetched it.

OpenCV and plain transcriptions are the oracles. Both place the middle of rotation and of the lens at half the width in
pixels, that is half a pixel right of and below the true middle that is used here; the tests undo that.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ichd.vision.manifest import InputSpec
from tests.training.augment.batches import STILL, batch_of
from training.augment.distortion import lens, uneven_steps
from training.augment.geometry import Geometry, draw_geometry, follow
from training.augment.placement import place, sample

SIZE = 96

Pixels = NDArray[np.floating[Any]]


def unchanged(count: int = 1) -> Geometry:
    return draw_geometry(count, STILL, torch.Generator().manual_seed(0))


def pixels(geometry: Geometry, size: int = SIZE) -> Pixels:
    """Where each pixel comes from, (x, y) in pixels, [G, G, 2]; far outside where there is nothing."""
    points_NGG2, inside_NGG = follow(geometry, size)
    return ((torch.where(inside_NGG[..., None], points_NGG2, -3)[0] + 1) * (size / 2) - 0.5).numpy()


def own_place(size: int = SIZE) -> Pixels:
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    return np.stack([columns, rows], axis=-1)


def within(points: Pixels, size: int = SIZE) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.all((points > -0.4) & (points < size - 0.6), axis=-1)
    return inside


def picture() -> Pixels:
    """Blobs of 0 to 1000 on air of 0, with nothing symmetric about them."""
    rng = np.random.default_rng(2)
    noise = cv2.GaussianBlur(rng.random((SIZE, SIZE)), (0, 0), 4)
    return np.asarray(1000 * (noise - noise.min()) / (noise.max() - noise.min()), dtype=np.float32)


def warped(geometry: Geometry, image: Pixels) -> Pixels:
    """Through the same sampling as a batch, on values above air."""
    hu = torch.from_numpy(image.astype(np.int16))[None, None] - 1024
    spec = InputSpec(image_size=SIZE)
    return sample(hu, *follow(geometry, SIZE), place(batch_of(hu), spec))[0].numpy() + 1024


def test_without_changes_every_pixel_stays_where_it_is() -> None:
    np.testing.assert_allclose(pixels(unchanged()), own_place(), atol=1e-4)
    image = picture().astype(np.int16).astype(np.float32)
    np.testing.assert_allclose(warped(unchanged(), image), image, atol=0.02)


@pytest.mark.parametrize(("axis", "flipped"), [(0, np.fliplr), (1, np.flipud)])
def test_flips_are_exact(axis: int, flipped: Callable[[Pixels], Pixels]) -> None:
    flip = torch.ones(1, 2)
    flip[0, axis] = -1
    image = picture().astype(np.int16).astype(np.float32)
    result = warped(replace(unchanged(), flip_N2=flip), image)
    np.testing.assert_allclose(result, flipped(image), atol=0.02)


@pytest.mark.parametrize("angle", [-30.0, 12.0, 30.0])
@pytest.mark.parametrize("scale", [0.9, 1.07])
def test_shift_scale_rotate_is_opencvs_affine_map(angle: float, scale: float) -> None:
    dx, dy = 0.05, -0.0625
    geometry = replace(
        unchanged(),
        angle_N=torch.tensor([math.radians(angle)]),
        scale_N=torch.tensor([scale]),
        shift_N2=torch.tensor([[dx, dy]]),
    )
    middle = (SIZE - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), angle, scale)
    matrix[:, 2] += np.array([dx * SIZE, dy * SIZE])
    backwards = cv2.invertAffineTransform(matrix)
    expected = own_place() @ backwards[:, :2].T + backwards[:, 2]
    inside = within(expected)
    np.testing.assert_allclose(pixels(geometry)[inside], expected[inside], atol=1e-3)
    # And the pictures agree, outside as well, but for a seam of one pixel where OpenCV fades into black.
    image = picture()
    theirs = cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderValue=0)
    far = ~within(expected) & ((expected < -1.01) | (expected > SIZE + 0.01)).any(axis=-1)
    ours = warped(geometry, image)
    assert np.abs(ours - theirs)[inside].mean() < 2
    assert (ours[far] == 0).all()
    assert (theirs[far] == 0).all()


def test_a_dot_turns_counter_clockwise_and_moves_right_and_down() -> None:
    dot = np.zeros((SIZE, SIZE), np.float32)
    dot[47:49, 71:73] = 1000
    quarter = replace(unchanged(), angle_N=torch.tensor([math.pi / 2]))
    rows, columns = np.nonzero(warped(quarter, dot) > 500)
    assert (rows.mean(), columns.mean()) == (pytest.approx(23.5, abs=0.1), pytest.approx(47.5, abs=0.1))
    moved = replace(unchanged(), shift_N2=torch.tensor([[12 / SIZE, 24 / SIZE]]))
    rows, columns = np.nonzero(warped(moved, dot) > 500)
    assert (rows.mean(), columns.mean()) == (pytest.approx(71.5), pytest.approx(83.5))


def stepped(factors: list[float], side: int) -> Pixels:
    """One axis of the library's grid distortion, step by step, without its leftover after the last whole step."""
    step = side // len(factors)
    places, before = [], 0.0
    for factor in factors:
        after = before + step * factor
        places.append(np.linspace(before, after, step))
        before = after
    return np.concatenate(places).astype(np.float32)


@given(st.lists(st.floats(0.8, 1.2), min_size=5, max_size=5))
def test_uneven_steps_are_the_librarys_but_for_how_it_counts_pixels(factors: list[float]) -> None:
    """It spreads a step from first to last pixel centre, so that its end is half a pixel, times its factor, further."""
    side = 100
    points = (2 * torch.arange(side).float() + 1)[None] / side - 1
    ours = (uneven_steps(points, torch.tensor([factors])) + 1) * (side / 2) - 0.5
    assert np.abs(ours[0].numpy() - stepped(factors, side)).max() < 0.5 + 0.5 * 1.2 + 1e-3
    assert (ours.diff() > 0.79).all()


def test_uneven_steps_stand_at_the_sums_of_their_factors() -> None:
    factors = torch.tensor([[0.8, 1.2, 1.0, 0.9, 1.15]])
    knots = torch.tensor([[-1.0, -0.6, -0.2, 0.2, 0.6, 1.0]])
    sums = torch.tensor([[0.0, 0.8, 2.0, 3.0, 3.9, 5.05]]) * 0.4 - 1
    torch.testing.assert_close(uneven_steps(knots, factors), sums)


@pytest.mark.parametrize("bend", [-0.2, 0.07, 0.2])
def test_the_lens_is_opencvs_undistortion(bend: float) -> None:
    """As the library calls it: focal length the width, both radial coefficients k, nothing else."""
    camera = np.array([[SIZE, 0, SIZE / 2], [0, SIZE, SIZE / 2], [0, 0, 1]], np.float32)
    coefficients = np.array([bend, bend, 0, 0, 0], np.float32)
    columns, rows = cv2.initUndistortRectifyMap(camera, coefficients, np.eye(3), camera, (SIZE, SIZE), cv2.CV_32FC1)
    # Points at whole pixels about SIZE / 2 there are points about the true middle here.
    points = torch.from_numpy((own_place() - SIZE / 2) / (SIZE / 2))[None]
    x, y = lens(points[..., 0], points[..., 1], torch.tensor([bend]))
    np.testing.assert_allclose((x[0].numpy() + 1) * (SIZE / 2), columns, atol=1e-3)
    np.testing.assert_allclose((y[0].numpy() + 1) * (SIZE / 2), rows, atol=1e-3)


def test_a_crop_fills_the_grid_as_opencv_resizes_it() -> None:
    geometry = replace(
        unchanged(), crop_half_N2=torch.tensor([[0.75, 0.875]]), crop_middle_N2=torch.tensor([[0.25, -0.125]])
    )
    image = picture().astype(np.int16).astype(np.float32)
    cropped = image[0 : SIZE * 7 // 8, SIZE // 4 :]
    expected = cv2.resize(cropped, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    ours = warped(geometry, image)
    # At the crop's own border the neighbours beyond it are still in the image here, and are not in a copy.
    np.testing.assert_allclose(ours[1:-1, 1:-1], expected[1:-1, 1:-1], atol=0.5)


def test_crop_then_flip_then_warp_in_the_authors_order_with_air_outside_the_crop() -> None:
    geometry = replace(
        unchanged(),
        crop_half_N2=torch.tensor([[0.75, 0.875]]),
        crop_middle_N2=torch.tensor([[0.25, -0.125]]),
        flip_N2=torch.tensor([[-1.0, 1.0]]),
        angle_N=torch.tensor([math.radians(20.0)]),
    )
    image = picture() + 200
    cropped = cv2.resize(image[0 : SIZE * 7 // 8, SIZE // 4 :], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    middle = (SIZE - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), 20.0, 1.0)
    expected = cv2.warpAffine(np.fliplr(cropped), matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderValue=0)
    ours = warped(geometry, image)
    inner, outer = (
        cv2.erode(mask.astype(np.uint8), np.ones((5, 5)), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
        for mask in (expected > 150, expected == 0)
    )
    assert outer.any()
    assert np.abs(ours - expected)[inner].max() < 12
    assert (ours[outer] == 0).all()


def test_a_slice_has_its_own_map_whatever_its_neighbours_got() -> None:
    spec = STILL.model_copy(update={"crop_share": 1.0, "flip_share": 0.5, "warp_share": 1.0})
    many = draw_geometry(6, spec, torch.Generator().manual_seed(9))
    together, _ = follow(many, 32)
    for number in range(6):
        alone = Geometry(**{name: value[number : number + 1] for name, value in vars(many).items()})
        torch.testing.assert_close(follow(alone, 32)[0][0], together[number])
