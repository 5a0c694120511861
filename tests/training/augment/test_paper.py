"""A batch becomes a lesson: a function of batch, recipe and seed, that without changes is what the service sees."""

from typing import Literal

import numpy as np
import pytest
import torch

from ichd.vision import preprocess
from ichd.vision.manifest import InputSpec
from tests.training.augment.batches import STILL, batch_of, smooth, still
from training.augment.cutmix import draw_cutmix, mix
from training.augment.geometry import draw_geometry, follow
from training.augment.paper import prepare
from training.augment.pixels import blur, draw_pixel_changes
from training.augment.placement import place, sample
from training.lessons.batch import Batch
from training.recipe import PaperAugmentation

SPEC = InputSpec(image_size=64)


def as_the_service_sees(batch: Batch, spec: InputSpec) -> torch.Tensor:
    """Each window by itself, padding included: air."""
    inputs = []
    for window, hu_SHW in enumerate(batch.hu_VSHW):
        rows, columns = batch.size_V2[window].tolist()
        between_rows, between_columns = batch.spacing_V2[window].tolist()
        row, column = batch.centre_V2[window].tolist()
        image = hu_SHW[:, :rows, :columns].numpy()
        inputs.append(preprocess.prepare(image, (between_rows, between_columns), spec, centre=(row, column)))
    return torch.cat(inputs)


def several_sizes() -> Batch:
    hu = smooth(3, 4, 96, 128)
    return batch_of(
        hu, sizes=[(96, 128), (64, 64), (90, 100)], lengths=[4, 3, 1], centres=[(50, 60), (30, 33), (44, 52)]
    )


@pytest.mark.parametrize("field_of_view_mm", [None, 50.0])
@pytest.mark.parametrize("bits", [None, 8])
def test_without_augmentation_the_lesson_is_the_services_own_input(
    field_of_view_mm: float | None, bits: Literal[8] | None
) -> None:
    spec = InputSpec(image_size=64, field_of_view_mm=field_of_view_mm, quantise_bits=bits)
    batch = several_sizes()
    lesson = prepare(batch, None, spec, seed=1)
    torch.testing.assert_close(lesson.x_NCGG, as_the_service_sees(batch, spec), atol=1e-5, rtol=0)
    assert lesson.mixed_with_N is None
    assert lesson.own_share == 1


def test_an_image_that_is_the_grid_stays_exactly_what_it_is() -> None:
    batch = batch_of(torch.randint(-1024, 2000, (2, 3, 64, 64), dtype=torch.int16))
    assert torch.equal(prepare(batch, None, SPEC, seed=0).x_NCGG, as_the_service_sees(batch, SPEC))


@pytest.mark.parametrize("spec", [SPEC, InputSpec(image_size=64, field_of_view_mm=40 * 1.25)])
def test_the_sampling_grid_places_images_where_the_service_does(spec: InputSpec) -> None:
    """Bilinear against the triangle filter, of images up to twice as fine as the grid, on smooth HU."""
    batch = several_sizes()
    changed = (prepare(batch, STILL, spec, seed=1).x_NCGG - as_the_service_sees(batch, spec)).abs()
    # The edge of a cut image is as sharp as can be: there the two may differ, inside they may not.
    assert changed.median() < 0.005
    assert changed.quantile(0.97) < 0.08


@pytest.mark.parametrize(("side", "factor"), [(128, 2), (200, 3)])
def test_finer_images_are_averaged_before_they_are_interpolated(side: int, factor: int) -> None:
    """A checkerboard of single pixels, as noise is, would come out as a pattern; its mean is flat."""
    rows, columns = torch.arange(side)[:, None], torch.arange(side)[None]
    board = (80 * ((rows + columns) % 2)).to(torch.int16).expand(1, 1, side, side)
    spec = InputSpec(image_size=64)
    windowed = prepare(batch_of(board), STILL, spec, seed=0).x_NCGG[0, 0] * spec.std[0] + spec.mean[0]
    assert (windowed - 0.5).abs().max() < (0.01 if factor == 2 else 0.12)


def test_windows_of_one_batch_may_differ_in_how_fine_they_are() -> None:
    hu = smooth(2, 2, 160, 160)
    mixed = batch_of(hu, sizes=[(160, 160), (64, 64)])
    alone = batch_of(hu[:1], sizes=[(160, 160)])
    torch.testing.assert_close(prepare(mixed, STILL, SPEC, 0).x_NCGG[:2], prepare(alone, STILL, SPEC, 0).x_NCGG)


def test_a_seed_gives_one_lesson_and_another_a_different_one() -> None:
    batch = several_sizes()
    first, same, other = (prepare(batch, PaperAugmentation(), SPEC, seed) for seed in (1, 1, 2))
    assert torch.equal(first.x_NCGG, same.x_NCGG)
    assert first.own_share == same.own_share
    assert not torch.equal(first.x_NCGG, other.x_NCGG)


def test_the_same_is_drawn_whatever_the_random_state_of_torch() -> None:
    batch = several_sizes()
    first = prepare(batch, PaperAugmentation(), SPEC, 1)
    torch.rand(100)
    state = torch.get_rng_state()
    assert torch.equal(first.x_NCGG, prepare(batch, PaperAugmentation(), SPEC, 1).x_NCGG)
    assert torch.equal(state, torch.get_rng_state())


def test_no_operation_waits_for_a_device() -> None:
    """Tensors without content can't be read back: whatever asked for a value of theirs would fail here."""
    nowhere, generator = torch.device("meta"), torch.Generator().manual_seed(0)
    batch = batch_of(smooth(2, 6, 160, 160), sizes=[(160, 160), (64, 64)], lengths=[6, 4])
    geometry = draw_geometry(12, PaperAugmentation(), generator).to(nowhere)
    points, inside = follow(geometry, 64)
    hu = sample(batch.hu_VSHW.to(nowhere), points, inside, place(batch, SPEC).to(nowhere))
    values = preprocess.windowed(hu, SPEC)
    blur(values, draw_pixel_changes(12, still(blur_share=1.0), generator))
    mix(values, draw_cutmix(torch.ones(12), 64, 1.0, np.random.default_rng(0)))
    assert values.shape == (12, 3, 64, 64)


def test_the_batch_is_not_changed() -> None:
    batch = several_sizes()
    before = batch.hu_VSHW.clone()
    prepare(batch, PaperAugmentation(), SPEC, 1)
    assert torch.equal(batch.hu_VSHW, before)


def test_padding_stays_air_through_all_changes() -> None:
    batch = several_sizes()
    spec = PaperAugmentation(noise_share=1.0, blur_share=1.0)
    air = (0 - torch.tensor(SPEC.mean)) / torch.tensor(SPEC.std)
    for seed in range(4):
        lesson = prepare(batch, spec, SPEC, seed)
        padding = lesson.x_NCGG.reshape(3, 4, 3, 64, 64)
        for window, length in enumerate(batch.lengths_V.tolist()):
            torch.testing.assert_close(padding[window, length:], air[:, None, None].expand_as(padding[window, length:]))


def test_slices_of_a_window_are_changed_each_by_itself() -> None:
    alike = batch_of(smooth(1, 1, 64, 64).expand(1, 12, 64, 64).clone())
    lesson = prepare(alike, still(crop_share=1.0), SPEC, seed=0)
    differences = [(lesson.x_NCGG[a] - lesson.x_NCGG[b]).abs().max() > 0.01 for a in range(12) for b in range(a)]
    assert all(differences)


def test_noise_comes_before_blur_and_both_before_standardisation() -> None:
    """Air with noise of 255ths, blurred: the spread of a clipped and averaged normal, over the channel's std."""
    batch = batch_of(torch.full((1, 200, 32, 32), 40, dtype=torch.int16))
    spec = still(noise_share=1.0, blur_share=1.0, noise_std=(10.0, 10.0), noise_variance=(100.0, 100.0))
    spread = prepare(batch, spec, InputSpec(image_size=32), 0).x_NCGG[..., 1:-1, 1:-1].std(dim=(2, 3))[:, 0]
    unit = spread * SPEC.std[0] * 255 / 10
    # Nothing in 0.2 x 0.2 of the slices, else 0, 1, and of the blurred 1/3 (mean) or about 0.41 (median of nine).
    for expected in (0.0, 1.0, 1 / 3, 0.408):
        assert ((unit - expected).abs() < 0.05).any()
    assert (unit < 1.1).all()


def test_the_network_reads_channels_last_float32() -> None:
    x_NCGG = prepare(several_sizes(), PaperAugmentation(), SPEC, 0).x_NCGG
    assert x_NCGG.shape == (12, 3, 64, 64)
    assert x_NCGG.dtype == torch.float32
    assert x_NCGG.is_contiguous(memory_format=torch.channels_last)
    assert not x_NCGG.requires_grad


def test_mixed_precision_around_it_changes_nothing() -> None:
    batch = several_sizes()
    for spec in (None, PaperAugmentation()):
        plain = prepare(batch, spec, SPEC, 3).x_NCGG
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(prepare(batch, spec, SPEC, 3).x_NCGG, plain)


def test_cutmix_says_whose_piece_each_slice_has_and_how_much_is_its_own() -> None:
    batch = several_sizes()
    mixed = prepare(batch, still(cutmix_alpha=1.0), SPEC, 4)
    alone = prepare(batch, STILL, SPEC, 4).x_NCGG
    assert mixed.mixed_with_N is not None
    assert mixed.box is not None
    rows, columns = mixed.box
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[rows, columns] = True
    assert torch.equal(mixed.x_NCGG, torch.where(inside, alone[mixed.mixed_with_N], alone))
    assert mixed.own_share == pytest.approx(1 - inside.double().mean().item())
    padding = [7, 9, 10, 11]
    assert mixed.mixed_with_N[padding].tolist() == padding


def test_without_cutmix_slices_are_their_own() -> None:
    lesson = prepare(several_sizes(), still(crop_share=1.0), SPEC, 4)
    assert lesson.mixed_with_N is None
    assert lesson.own_share == 1
