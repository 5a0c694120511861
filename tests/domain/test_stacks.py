"""One series, several stacks: what belongs together, and what was scanned again."""

from dataclasses import replace
from random import Random
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichd.domain.image_kind import ImageKind
from ichd.domain.note import Remark
from ichd.domain.placed import positions_mm
from ichd.domain.refusal import SelectionPolicy
from ichd.domain.selection import select_series
from ichd.domain.stacks import Stack, stacks_of
from ichd.domain.study import SeriesFacts

from .series import CORONAL, scan, study, thin, together, with_one


def chosen(series: SeriesFacts) -> Stack:
    return select_series(study(series), SelectionPolicy()).candidates[0].stack


def acquisitions(stack: Stack) -> list[int | None]:
    return sorted({i.acquisition_number for i in stack.instances}, key=lambda n: n or 0)


def test_of_two_acquisitions_the_later_is_read_and_the_other_is_named() -> None:
    """Somebody scanned again for a reason."""
    repeated = together(
        scan(acquisition_number=1, acquisition_datetime="20240101101500"),
        scan(acquisition_number=2, acquisition_datetime="20240101101900"),
    )
    stack = chosen(repeated)
    assert acquisitions(stack) == [2]
    assert [str(note) for note in stack.notes] == [
        "the series holds several acquisitions, of which one was read: "
        "acquisition 2 of 2 was read, 28 images were not read"
    ]


def test_times_come_before_numbers() -> None:
    repeated = together(
        scan(acquisition_number=1, acquisition_datetime="20240101101900"),
        scan(acquisition_number=2, acquisition_datetime="20240101101500"),
    )
    assert acquisitions(chosen(repeated)) == [1]


def test_a_repeat_between_the_slices_of_the_first() -> None:
    repeated = together(
        scan(slice_thickness_mm=5.0, acquisition_number=1),
        scan(slice_thickness_mm=5.0, acquisition_number=2, start_mm=2.5),
    )
    assert acquisitions(chosen(repeated)) == [2]


def test_a_repeat_without_any_number() -> None:
    first, second = scan(), scan()
    repeated = together(first, second)
    stack = chosen(repeated)
    assert {i.instance_number for i in stack.instances} == set(range(29, 57))


def test_overlapping_slices_of_one_acquisition_are_no_repeat() -> None:
    assert len(stacks_of(scan(56, spacing_mm=2.5, slice_thickness_mm=5.0, acquisition_number=1))) == 1


def test_a_number_for_every_rotation_is_one_scan() -> None:
    """A sequential scanner: two slices a rotation, another thickness for the vault, as in the real head CT."""
    images = together(
        scan(14, spacing_mm=4.2, slice_thickness_mm=4.0), scan(14, start_mm=56.0, spacing_mm=7.4)
    ).instances
    numbered = tuple(replace(i, acquisition_number=n // 2) for n, i in enumerate(images))
    (stack,) = stacks_of(SeriesFacts(series_instance_uid="1.2.1", instances=numbered))
    assert len(stack.instances) == 28
    assert stack.notes == ()


def test_a_sequential_scan_that_was_repeated_rotation_by_rotation() -> None:
    images = [replace(i, acquisition_number=n) for n, i in enumerate(together(scan(), scan()).instances)]
    stack = chosen(SeriesFacts(series_instance_uid="1.2.1", instances=tuple(images)))
    assert acquisitions(stack) == list(range(28, 56))


@pytest.mark.parametrize("second_kernel", ["H31s", "H40s"])
def test_halves_are_joined_whatever_their_kernel(second_kernel: str) -> None:
    halves = together(
        scan(16, spacing_mm=2.5, acquisition_number=1, convolution_kernel="H31s"),
        scan(20, start_mm=42.5, acquisition_number=2, convolution_kernel=second_kernel),
    )
    (stack,) = stacks_of(halves)
    assert len(stack.instances) == 36


def test_halves_that_were_both_repeated() -> None:
    repeated = together(
        scan(16, acquisition_number=1, spacing_mm=2.5),
        scan(20, acquisition_number=2, start_mm=42.5),
        scan(16, acquisition_number=3, spacing_mm=2.5),
        scan(20, acquisition_number=4, start_mm=42.5),
    )
    assert acquisitions(chosen(repeated)) == [3, 4]


def test_a_few_slices_that_were_repeated_replace_the_spoiled_ones() -> None:
    patched = together(scan(acquisition_number=1), scan(4, acquisition_number=2, start_mm=51.0))
    (stack,) = stacks_of(patched)
    assert len(stack.instances) == 28
    assert sum(i.acquisition_number == 2 for i in stack.instances) == 4
    assert "a part was scanned again, 4 images were not read" in str(stack.notes[0])


def test_a_scan_that_was_broken_off_gives_way_to_the_whole_one() -> None:
    broken_off = together(scan(9, acquisition_number=1), scan(acquisition_number=2))
    (stack,) = stacks_of(broken_off)
    assert acquisitions(stack) == [2]
    assert "a part was scanned again, 9 images were not read" in str(stack.notes[0])


def test_two_kernels_in_one_series_are_two_stacks_and_the_soft_one_is_read() -> None:
    both = together(scan(convolution_kernel="H60s"), scan(convolution_kernel="H31s"))
    assert len(stacks_of(both)) == 2
    assert {i.convolution_kernel for i in chosen(both).instances} == {"H31s"}


def test_numbers_that_make_no_sense_lose_nothing() -> None:
    """Any image that is there twice makes the numbers be asked."""
    images = [replace(i, acquisition_number=(n * 7) % 28) for n, i in enumerate(scan().instances)]
    images.append(replace(images[5], sop_instance_uid="1.2.1.99", instance_number=99))
    (stack,) = stacks_of(SeriesFacts(series_instance_uid="1.2.1", instances=tuple(images)))
    assert positions_mm(stack.instances) == positions_mm(images)
    assert len(stack.instances) == 28


def test_scouts_and_other_views_stand_apart() -> None:
    mixed = together(
        scan(2, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), image_orientation=CORONAL),
        scan(),
        scan(40, spacing_mm=3.0, image_orientation=CORONAL),
    )
    stacks = stacks_of(mixed)
    assert [(s.number, len(s.instances), s.kind) for s in stacks] == [
        (1, 2, ImageKind.LOCALIZER),
        (2, 28, ImageKind.SLICE),
        (3, 40, ImageKind.SLICE),
    ]
    assert all(s.notes == () for s in stacks)


def test_a_repeat_on_another_grid_is_a_repeat_and_the_later_one_is_read() -> None:
    """The technician zoomed in the second time: UIDs say nothing of which is the better one."""
    parts = [
        scan(acquisition_number=2, pixel_spacing=(0.452, 0.452)),
        scan(acquisition_number=1, pixel_spacing=(0.459, 0.459)),
    ]
    for order in (parts, parts[::-1]):
        stack = chosen(together(*order))
        assert (acquisitions(stack), stack.acquisition) == ([2], (2, 2))
        assert [(n.remark, n.detail) for n in stack.notes] == [
            (Remark.ACQUISITION_LEFT_OUT, "28 images were not read, of another size")
        ]


def test_a_part_that_was_scanned_again_on_another_grid_is_missed() -> None:
    """It can't be stacked, and what it was to replace is spoiled."""
    stack = chosen(together(scan(acquisition_number=1), scan(5, acquisition_number=2, start_mm=50.0, rows=256)))
    assert [(n.remark, n.detail) for n in stack.notes] == [(Remark.IMAGES_LEFT_OUT, "5 beside 28 that were read")]


@pytest.mark.parametrize("number", [None, 1])
@pytest.mark.parametrize("at", ["", "20240101101900"])
def test_of_one_place_the_latest_image_is_read(number: int | None, at: str) -> None:
    images = together(
        scan(acquisition_number=number), scan(5, start_mm=50.0, acquisition_number=number, acquisition_datetime=at)
    )
    (stack,) = stacks_of(images)
    assert sorted(i.instance_number or 0 for i in stack.instances) == [*range(1, 11), *range(16, 34)]
    assert [(n.remark, n.detail) for n in stack.notes] == [
        (Remark.DUPLICATE_POSITIONS, "5, the latest of each position was read")
    ]


@pytest.mark.parametrize("again", [[5], [5, 6, 7], list(range(0, 28, 2))])
@pytest.mark.parametrize("overlapping", [False, True])
def test_rows_that_are_numbered_in_turn_are_one_scan_whatever_was_scanned_again(
    again: list[int], overlapping: bool
) -> None:
    first = scan(slice_thickness_mm=10.0 if overlapping else 5.0).instances
    rows = [replace(i, acquisition_number=1 + n % 2) for n, i in enumerate(first)]
    more = [replace(rows[n], sop_instance_uid=f"1.2.1.9{n}", instance_number=90 + n) for n in again]
    for stack in stacks_of(SeriesFacts(series_instance_uid="1.2.1", instances=(*rows, *more))):
        assert positions_mm(stack.instances) == positions_mm(first)
        assert {i.instance_number for i in stack.instances} >= {90 + n for n in again}


def test_thousands_of_images_are_sorted_at_once() -> None:
    """Positions were once worked out again for every pair of images, which took half a minute."""
    images = together(*(thin(700) for _ in range(4))).instances
    numbered = tuple(replace(i, acquisition_number=n) for n, i in enumerate(images))
    begun = process_time()
    assert len(stacks_of(SeriesFacts(series_instance_uid="1.2.1", instances=numbered))) == 4
    assert process_time() - begun < 5


def test_slices_that_fit_nowhere_are_counted_where_the_finding_stands() -> None:
    stack = chosen(with_one(scan(), image_position=None))
    assert [str(note) for note in stack.notes] == [
        "images of the series that do not fit to the others were not read: 1 beside 27 that were read"
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(2, 12), min_size=1, max_size=4),
    st.lists(st.integers(0, 40), min_size=40, max_size=40),
    st.sampled_from([2.5, 5.0]),
    st.sampled_from([0.0, 20.0]),
    st.randoms(),
)
def test_no_image_is_lost_and_none_is_read_twice(
    lengths: list[int], numbers: list[int], spacing_mm: float, apart_mm: float, random: Random
) -> None:
    parts = [scan(n, spacing_mm=spacing_mm, start_mm=apart_mm * k) for k, n in enumerate(lengths)]
    whole = together(*parts)
    images = [replace(i, acquisition_number=numbers[n % 40]) for n, i in enumerate(whole.instances)]
    stacks = stacks_of(replace(whole, instances=tuple(images)))
    uids = [i.sop_instance_uid for s in stacks for i in s.instances]
    kept = {i.sop_instance_uid for i in images}
    assert set(uids) <= kept
    if set(uids) != kept:
        assert any(s.notes for s in stacks), "what is left out is said"
    places = positions_mm(images)
    for stack in stacks:
        assert positions_mm(stack.instances) == places, "every place is in every stack"
        assert len(stack.instances) == len(places), "and there once"

    random.shuffle(images)
    assert stacks_of(replace(whole, instances=tuple(images))) == stacks


def test_a_thin_stack_whose_slices_overlap_by_half_stays_whole() -> None:
    (stack,) = stacks_of(thin(acquisition_number=1, slice_thickness_mm=1.0))
    assert len(stack.instances) == 280
