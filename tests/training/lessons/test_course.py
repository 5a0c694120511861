"""What an update learns from is a function of the seed and the update, shared by any number of processes."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.errors import UserError
from training.lessons.course import Course, MicroBatch, learning_rate, window_of
from training.recipe import Optimisation, load_recipe

PAPER = load_recipe("resnet50").optimisation
#: Studies of the stage-1 training set.
STAGE_1 = 19_530


def course(studies: int = 60, processes: int = 1, **changes: object) -> Course:
    plan = Optimisation.model_validate({**PAPER.model_dump(), "epochs": 3, **changes})
    return Course(optimisation=plan, studies=studies, seed=7, processes=processes)


def every(of: Course) -> list[MicroBatch]:
    return [micro for update in range(of.updates) for micro in of.of_update(update)]


def test_the_published_run_has_58590_updates_of_two_times_five_studies() -> None:
    run = Course(optimisation=PAPER, studies=STAGE_1, seed=0)
    assert run.updates == 58_590 == 30 * 3_906 // 2
    for micro in run.of_update(12_345):
        assert len(micro.studies) == 5
        assert micro.slices == 10
        assert micro.share == 0.5


def test_every_study_comes_once_an_epoch() -> None:
    counted = Counter(study for micro in every(course(studies=60)) for study in micro.studies)
    assert set(counted.values()) == {3}


def test_studies_that_fill_no_whole_update_come_all_the_same() -> None:
    seen = [study for micro in every(course(studies=47)) for study in micro.studies]
    for epoch in range(3):
        assert sorted(seen[epoch * 47 : (epoch + 1) * 47]) == list(range(47))


def test_epochs_have_orders_of_their_own() -> None:
    seen = [study for micro in every(course(studies=60)) for study in micro.studies]
    assert seen[:60] != seen[60:120]


@given(processes=st.integers(1, 10), studies=st.integers(1, 50), update=st.integers(0, 5))
def test_processes_share_an_update_and_change_nothing_about_it(processes: int, studies: int, update: int) -> None:
    alone, shared = course(studies=studies), course(studies=studies, processes=processes)
    assert [s for m in alone.of_update(update) for s in m.studies] == [
        s for m in shared.of_update(update) for s in m.studies
    ]
    assert math.isclose(sum(micro.share for micro in shared.of_update(update)), 1)
    assert shared.micro_batches % processes == 0


def test_two_processes_have_the_very_micro_batches_that_one_accumulates() -> None:
    assert every(course()) == every(course(processes=2))


def test_more_processes_than_windows_are_refused_with_the_mend() -> None:
    with pytest.raises(UserError, match=r"11 processes share 10 windows.*slices_per_update"):
        course(processes=11)


def test_no_two_micro_batches_draw_the_same() -> None:
    seeds = [micro.seed for micro in every(course())]
    assert len(set(seeds)) == len(seeds)


def test_epochs_end_where_their_last_study_is_behind() -> None:
    run = course(studies=25)
    assert [run.ends_epoch(update) for update in range(run.updates)] == [None, None, 1, None, 2, None, None, 3]


def logged(t: float) -> float:
    """The published schedule, as paper.md gives it: t in epochs."""
    return 1e-3 * min(1.0, t / 3) * (1 + math.cos(math.pi * t / 30)) / 2


@pytest.mark.parametrize(
    ("epoch", "in_the_log"),
    [(1, 0.000332), (2, 0.000659), (3, 0.000975), (4, 0.000957), (10, 0.000750), (15, 0.000500), (24, 0.000095)],
)
def test_the_rate_is_the_logged_one(epoch: int, in_the_log: float) -> None:
    """Values from the authors' log of the ResNet-50 run, printed after each epoch."""
    run = Course(optimisation=PAPER, studies=STAGE_1, seed=0)
    rate = learning_rate(run.progress(epoch * 1_953), 30.0, PAPER)
    assert rate == pytest.approx(in_the_log, abs=6e-7)
    assert rate == pytest.approx(logged(epoch), rel=1e-9)


def test_the_rate_ends_at_nothing() -> None:
    run = Course(optimisation=PAPER, studies=STAGE_1, seed=0)
    assert learning_rate(run.progress(run.updates - 1), 30.0, PAPER) < 1e-11


def test_the_rate_does_not_rise_again_past_the_last_study() -> None:
    assert learning_rate(3.2, 3.0, PAPER) == 0


def published_window(mid: int, window: int, length: int) -> list[int]:
    """Paper, window of slices: around the centre, moved to lie inside the scan."""
    start = mid - window // 2
    start = max(0, start)
    start = min(start, length - window)
    return list(range(start, start + window))


@given(length=st.integers(10, 80), share=st.floats(0, 0.999))
def test_a_window_is_the_published_one(length: int, share: float) -> None:
    mid = int(share * length)
    assert window_of(length, 10, centre=float(mid)) == published_window(mid, 10, length)


@given(length=st.integers(1, 9), share=st.floats(0, 0.999))
def test_a_scan_that_is_shorter_than_the_window_is_taken_whole(length: int, share: float) -> None:
    assert window_of(length, 10, centre=float(int(share * length))) == list(range(length))


@given(
    length=st.integers(1, 60),
    window=st.integers(1, 20),
    share=st.floats(0, 1),
    step=st.sampled_from([0.25, 0.5, 2.0]),
)
def test_stretched_and_thinned_windows_are_full_ascending_and_inside(
    length: int, window: int, share: float, step: float
) -> None:
    slices = window_of(length, window, centre=share * (length - 1), step=step)
    assert len(slices) == window
    assert slices == sorted(slices)
    assert 0 <= slices[0] <= slices[-1] < length
    assert max(np.diff(slices), default=0) <= max(1, step)
