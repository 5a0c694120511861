"""Windows of packed studies, side by side in one batch."""

import numpy as np
import pytest
import torch

from ichd.domain.finding import CLASSES
from tests.training.lessons.making import study
from training.lessons.course import MicroBatch
from training.lessons.source import PackedSource, gaps
from training.packed.study import UNKNOWN

SUBDURAL = CLASSES.index("subdural")


def micro(studies: tuple[int, ...], *, seed: int = 1, slices: int = 10) -> MicroBatch:
    return MicroBatch(number=0, update=0, studies=studies, slices=slices, share=1.0, seed=seed, last=True)


def labels(slices: int) -> np.ndarray[tuple[int, int], np.dtype[np.int8]]:
    made = np.zeros((slices, len(CLASSES)), dtype=np.int8)
    made[slices // 2, [0, SUBDURAL]] = 1
    return made


def test_a_window_holds_the_slices_that_its_labels_are_of() -> None:
    source = PackedSource([study(labels(24))])
    for seed in range(20):
        batch = source.batch(micro((0,), seed=seed))
        shown = batch.hu_VSHW[0, :, 0, 0].tolist()
        assert shown == list(range(shown[0], shown[0] + 10))
        assert torch.equal(batch.target_VSC[0, :, SUBDURAL].bool(), torch.tensor([s == 12 for s in shown]))


def test_centres_reach_every_slice() -> None:
    source = PackedSource([study(labels(24))])
    first = {int(source.batch(micro((0,), seed=seed)).hu_VSHW[0, 0, 0, 0]) for seed in range(300)}
    assert first == set(range(15))


def test_a_short_scan_is_filled_up_with_air_that_counts_for_nothing() -> None:
    batch = PackedSource([study(labels(24)), study(labels(4), name="ID_b")]).batch(micro((0, 1)))
    assert batch.lengths_V.tolist() == [10, 4]
    assert (batch.hu_VSHW[1, 4:] == -1024).all()
    assert not batch.weight_VSC[1, 4:].any()
    assert batch.weight_VSC[1, :4].all()


def test_a_smaller_image_lies_at_the_upper_left_of_air() -> None:
    batch = PackedSource([study(labels(12)), study(labels(12), name="ID_b", rows=40, columns=44)]).batch(micro((0, 1)))
    assert batch.size_V2.tolist() == [[48, 48], [40, 44]]
    assert (batch.hu_VSHW[1, :, 40:] == -1024).all()
    assert (batch.hu_VSHW[1, :, :, 44:] == -1024).all()
    assert (batch.hu_VSHW[1, :, :40, :44] >= 0).all()


def test_a_study_of_one_slice_is_a_window() -> None:
    batch = PackedSource([study(labels(1))]).batch(micro((0,)))
    assert batch.hu_VSHW.shape[:2] == (1, 1)
    assert batch.gap_VS.tolist() == [[0.0]]


def test_gaps_are_of_the_scan_and_not_of_the_window() -> None:
    z_mm = [0.0, 5.0, 10.0, 20.0, 22.5]
    assert gaps(z_mm).tolist() == [0.0, 5.0, 5.0, 10.0, 2.5]
    batch = PackedSource([study(labels(5), z_mm=z_mm)]).batch(micro((0,), slices=2, seed=5))
    first = int(batch.hu_VSHW[0, 0, 0, 0])
    assert batch.gap_VS[0].tolist() == gaps(z_mm)[first : first + 2].tolist()


def test_a_batch_names_its_windows() -> None:
    (name,) = PackedSource([study(labels(24), name="ID_77")]).batch(micro((0,))).names
    assert name.startswith("ID_77 (")


@pytest.mark.parametrize(("slices", "said"), [(12, 1.0), (5, 0.0)])
def test_only_a_whole_scan_says_what_is_in_it_somewhere(slices: int, said: float) -> None:
    whole = np.zeros(len(CLASSES), dtype=np.int8)
    whole[[0, SUBDURAL]] = 1
    by_slice = np.zeros((12, len(CLASSES)), dtype=np.int8)
    by_slice[:, [0, SUBDURAL]] = UNKNOWN
    batch = PackedSource([study(by_slice, study_labels_C=whole)]).batch(micro((0,), slices=slices))
    assert batch.somewhere_VC[0, SUBDURAL] == said
    assert not batch.weight_VSC[0, :, SUBDURAL].any()
    assert batch.weight_VSC[0, :, CLASSES.index("epidural")].all()
