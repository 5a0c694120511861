"""HU to network input: whole image or head-centred field of view, antialiased, in bounded memory."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from ichd.vision.manifest import IMAGENET_MEAN, IMAGENET_STD, InputSpec
from ichd.vision.preprocess import AIR_HU, head_centre, normalise, prepare, resample_hu
from ichd.vision.window import PAPER_WINDOWS, apply_window

from .images import disc

WHOLE = InputSpec(image_size=64)
CROP = InputSpec(image_size=64, field_of_view_mm=256.0)


def test_normalise_is_the_window_arithmetic_then_imagenet() -> None:
    hu = np.random.default_rng(0).integers(-1024, 3000, (2, 8, 8)).astype(np.int16)
    result = normalise(torch.from_numpy(hu).float(), WHOLE)
    for channel, window in enumerate(PAPER_WINDOWS):
        expected = (apply_window(hu, window) - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        np.testing.assert_allclose(result[:, channel].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(96, 96), (50, 50), (130, 90), (64, 64)])
def test_the_whole_image_is_resized_as_torch_does_with_antialiasing(shape: tuple[int, int]) -> None:
    hu = np.random.default_rng(1).integers(-1024, 2000, (2, *shape)).astype(np.int16)
    expected = interpolate(torch.from_numpy(hu).float()[:, None], (64, 64), mode="bilinear", antialias=True)[:, 0]
    torch.testing.assert_close(resample_hu(hu, (0.5, 0.7), WHOLE), expected, atol=0.1, rtol=0)


def test_a_head_at_any_place_and_pixel_spacing_gives_the_same_input() -> None:
    results = [
        resample_hu(disc(size, spacing_mm=mm, diameter_mm=170, hu=40, centre=centre)[None], (mm, mm), CROP)
        for size, mm, centre in ((512, 0.5, (256.0, 256.0)), (512, 0.5, (200.0, 300.0)), (256, 1.0, (140.0, 110.0)))
    ]
    inside = torch.from_numpy(disc(64, spacing_mm=4.0, diameter_mm=160, hu=1) == 1)
    for result in results:
        assert result[0][inside].sub(40).abs().max() < 0.01
        # Rims differ by less than a pixel's worth of partial volume.
        assert (result[0] - results[0][0]).abs().mean() < 12


def test_outside_the_image_is_air() -> None:
    hu = np.full((1, 64, 64), 40, dtype=np.int16)
    result = resample_hu(hu, (1.0, 1.0), InputSpec(image_size=64, field_of_view_mm=128.0), centre=(31.5, 31.5))
    assert result[0, 0, 0] == AIR_HU
    assert result[0, 32, 32] == pytest.approx(40, abs=1e-2)
    far = resample_hu(hu, (1.0, 1.0), CROP, centre=(5000.0, 5000.0))
    assert bool((far == AIR_HU).all())


@settings(max_examples=25, deadline=None)
@given(mm=st.floats(0.3, 1.4), row=st.floats(80, 160), column=st.floats(80, 160), fov=st.floats(60, 300))
def test_resampling_keeps_a_constant_constant_and_never_leaves_its_range(
    mm: float, row: float, column: float, fov: float
) -> None:
    hu = np.full((1, 240, 240), 71, dtype=np.int16)
    result = resample_hu(hu, (mm, mm), InputSpec(image_size=48, field_of_view_mm=fov), centre=(row, column))
    assert result.min() >= AIR_HU - 0.01
    assert result.max() <= 71.01
    if fov / mm < 130:  # then the crop lies inside the image
        assert result.min() == pytest.approx(71, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(row=st.floats(95, 160), column=st.floats(95, 160))
def test_the_head_is_found(row: float, column: float) -> None:
    hu = disc(256, spacing_mm=1.0, diameter_mm=160, hu=40, centre=(row, column))
    hu[250:, 20:230] = 200  # the couch
    scan = np.repeat(hu[None], 5, axis=0)
    found = head_centre(scan, (1.0, 1.0))
    assert np.hypot(found[0] - row, found[1] - column) < 3


def test_of_nothing_the_centre_is_the_images() -> None:
    assert head_centre(np.full((3, 40, 60), -1000, dtype=np.int16), (1.0, 1.0)) == (19.5, 29.5)


def test_float_hu_gives_what_int16_gives() -> None:
    hu = disc(128, spacing_mm=2.0, diameter_mm=150, hu=35)[None]
    torch.testing.assert_close(prepare(hu.astype(np.float32), (2.0, 2.0), CROP), prepare(hu, (2.0, 2.0), CROP))
