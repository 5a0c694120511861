"""Windows lie inside their scan, in order, and a step always sees the same batch."""

from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.recipe import Recipe
from training.sampler import Steps, window_slices
from training.synthetic import load_split


@given(
    scan_slices=st.integers(1, 400),
    window=st.integers(1, 24),
    place=st.floats(0, 1),
    step=st.sampled_from([0.25, 0.5, 1.0, 2.0]),
)
def test_windows_are_full_ascending_and_inside(scan_slices: int, window: int, place: float, step: float) -> None:
    slices = window_slices(scan_slices, window, centre=place * (scan_slices - 1), step=step)
    assert len(slices) == window
    assert slices == sorted(slices)
    assert slices[0] >= 0
    assert slices[-1] < scan_slices


def test_a_step_of_one_gives_consecutive_slices() -> None:
    assert window_slices(30, 10, centre=14.5, step=1.0) == list(range(10, 20))


def test_a_short_scan_fills_the_window_by_repeating() -> None:
    assert window_slices(3, 6, centre=1, step=1.0) == [0, 0, 1, 1, 2, 2]


def test_a_batch_is_a_function_of_its_step(tiny: Recipe, tiny_phantoms: Path) -> None:
    scans = load_split(tiny_phantoms, "train", tiny.data)
    once, again = Steps(scans, tiny), Steps(scans, tiny)
    assert torch.equal(once[3].hu_VSGG, again[3].hu_VSGG)
    assert torch.equal(once[3].target_VSC, again[3].target_VSC)
    assert not torch.equal(once[3].hu_VSGG, once[4].hu_VSGG)


def test_marks_and_labels_agree(tiny: Recipe, tiny_phantoms: Path) -> None:
    """Where a slice is called bleeding, its maps show where; augmentation may push a little of it out of the grid."""
    steps = Steps(load_split(tiny_phantoms, "train", tiny.data), tiny)
    called, shown = 0, 0
    for step in range(6):
        batch = steps[step]
        bleeding = batch.target_VSC[..., 0].flatten() > 0
        called += int(bleeding.sum())
        shown += int((batch.marks_NKhw[0].flatten(1).amax(1)[bleeding] > 0).sum())
        kinds = batch.target_VSC[..., 1:].amax(-1)
        assert torch.equal(kinds, batch.target_VSC[..., 0])
    assert called > 0
    assert shown >= 0.9 * called
