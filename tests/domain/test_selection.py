"""The choice as a whole: order, ties, the ranking that is kept, and no header that breaks it."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.ranking import PixelEvidence, score_of
from ichd.domain.reason import Reason
from ichd.domain.refusal import SelectionPolicy
from ichd.domain.selection import Selection, ranking_of, select_series, skipped_by
from ichd.domain.stacks import stacks_of
from ichd.domain.study import InstanceFacts, SeriesFacts

from .series import AXIAL, CORONAL, scan, study, thin, together

POLICY = SelectionPolicy()
WHOLE = PixelEvidence(sections=12, heads=9, reaches_vertex=True, reaches_base=True)


def read_first(selection: Selection) -> list[str]:
    return [c.stack.series_instance_uid for c in selection.candidates]


def test_the_most_slices_come_first_and_the_uid_breaks_ties() -> None:
    series = (scan(28, uid="1.2.5"), scan(40, uid="1.2.7"), scan(40, uid="1.2.6"), scan(1, uid="1.2.4"))
    selection = select_series(study(*series), POLICY)
    assert read_first(selection) == ["1.2.6", "1.2.7", "1.2.5"]
    assert [c.stack.series_instance_uid for c in selection.refused] == ["1.2.4"]
    assert select_series(study(*series[::-1]), POLICY) == selection


def test_positions_count_once_not_images() -> None:
    """A series sent twice under new UIDs is not the bigger one."""
    doubled = together(scan(), scan(), uid="1.2.2")
    selection = select_series(study(doubled, scan(30, uid="1.2.3")), POLICY)
    assert read_first(selection)[0] == "1.2.3"


def test_a_whole_protocol_is_told_apart() -> None:
    """What a scanner sends of one head: every series has its reason, and the thick soft one is read."""
    reformat = ("DERIVED", "SECONDARY", "REFORMATTED")
    protocol = study(
        scan(2, uid="1.1", image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), image_orientation=CORONAL),
        scan(30, uid="1.2", slice_thickness_mm=5.0, convolution_kernel="H31s"),
        scan(30, uid="1.3", slice_thickness_mm=5.0, convolution_kernel="H60s"),
        thin(uid="1.4", convolution_kernel="H30s"),
        thin(uid="1.5", convolution_kernel="H70h"),
        scan(60, uid="1.6", spacing_mm=3.0, image_type=reformat, image_orientation=CORONAL),
        scan(50, uid="1.7", spacing_mm=3.0, image_type=(*reformat, "MIP")),
        thin(uid="1.8", contrast_agent="Ultravist", series_description="CTA"),
        scan(1, uid="1.9", image_type=("DERIVED", "SECONDARY", "DOSE_INFO"), image_position=None),
    )
    selection = select_series(protocol, POLICY)
    ranking = ranking_of(selection.candidates[0], [*selection.candidates, *selection.refused])
    assert [line.series_instance_uid for line in ranking if line.read] == ["1.2"]
    assert [line.rank for line in ranking] == list(range(1, 10))
    reasons = {s.series_instance_uid: s.reason for s in skipped_by(ranking)}
    assert reasons == {
        "1.1": Reason.LOCALIZER,
        "1.3": Reason.RANKED_LOWER,
        "1.4": Reason.RANKED_LOWER,
        "1.5": Reason.SHARP_KERNEL,
        "1.6": Reason.REFORMATTED,
        "1.7": Reason.PROJECTION,
        "1.8": Reason.ANGIOGRAPHY,
        "1.9": Reason.DERIVED_SECONDARY,
    }


def test_the_one_that_was_not_chosen_names_the_one_that_was_and_what_decided() -> None:
    selection = select_series(study(scan(20, uid="1.2.2"), scan(28, uid="1.2.3")), POLICY)
    _, skipped = ranking_of(selection.candidates[0], selection.candidates)
    assert skipped.refusal is not None
    assert skipped.refusal.reason is Reason.RANKED_LOWER
    assert skipped.refusal.detail == ("126.5 points; series 1.2.3 with 126.5 is read, by positions: 28 against 20")


@pytest.mark.parametrize(("vertex", "base", "points"), [(True, True, 64), (True, False, 0), (False, True, 0)])
def test_pixels_have_the_word_about_the_head(vertex: bool, base: bool, points: float) -> None:
    (stack,) = stacks_of(scan())
    by_header = score_of(stack)
    seen = by_header.with_pixels(replace(WHOLE, reaches_vertex=vertex, reaches_base=base))
    assert seen.criteria[0].points == points
    assert seen.criteria[1:] == by_header.criteria[1:]


@pytest.mark.parametrize("slices", [10, 23, 28])
@pytest.mark.parametrize("whole", [True, False])
def test_pixels_never_add_to_the_account(slices: int, whole: bool) -> None:
    """Else the first in order could be overtaken by one that nobody looked at: a child's head is 115 mm high."""
    (stack,) = stacks_of(scan(slices))
    seen = score_of(stack).with_pixels(replace(WHOLE, reaches_base=whole))
    assert score_of(stack).total - seen.total == (0 if whole else 64)


def test_where_no_pixels_are_looked_at_the_longer_stack_is_the_whole_one() -> None:
    part, whole = scan(18, uid="1.2.2"), scan(28, uid="1.2.3", convolution_kernel="H60s")
    assert read_first(select_series(study(part, whole), POLICY, pixels_to_come=False)) == ["1.2.3", "1.2.2"]
    assert read_first(select_series(study(part, whole), POLICY)) == ["1.2.2", "1.2.3"]


def test_each_criterion_outweighs_all_below() -> None:
    (best,) = stacks_of(scan(1000, spacing_mm=0.5, slice_thickness_mm=5.0))
    points = [c.points for c in score_of(best).criteria]
    # The step from an original to what is derived from it counts; between two derived ones nothing is decided.
    steps = [*points[:4], points[4] * 0.75, *points[5:]]
    for index, step in enumerate(steps[:-1]):
        assert step > sum(points[index + 1 :])


def test_an_empty_study_has_nothing_to_read() -> None:
    assert select_series(study(), POLICY) == Selection(candidates=(), refused=())


def test_a_series_with_one_readable_stack_is_not_skipped() -> None:
    mixed = together(scan(2, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), image_orientation=CORONAL), scan())
    selection = select_series(study(mixed), POLICY)
    ranking = ranking_of(selection.candidates[0], [*selection.candidates, *selection.refused])
    assert [(line.stack, line.read) for line in ranking] == [(2, True), (1, False)]
    assert skipped_by(ranking) == ()


images = st.builds(
    InstanceFacts,
    study_instance_uid=st.just("1.2"),
    series_instance_uid=st.just("1.2.1"),
    sop_instance_uid=st.integers(0, 10**9).map("1.2.1.{}".format),
    sop_class_uid=st.sampled_from(["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"]),
    transfer_syntax_uid=st.just("1.2.840.10008.1.2.1"),
    modality=st.sampled_from(["CT", "MR", ""]),
    image_type=st.lists(st.sampled_from(["ORIGINAL", "DERIVED", "SECONDARY", "AXIAL", "MPR", "MIP", ""])).map(tuple),
    rows=st.none() | st.integers(0, 512),
    number_of_frames=st.integers(-1, 3),
    frame_number=st.none() | st.integers(1, 3),
    image_position=st.none()
    | st.tuples(*[st.floats()] * 3)
    | st.tuples(st.just(0.0), st.just(0.0), st.floats(-99, 99)),
    image_orientation=st.none() | st.tuples(*[st.floats()] * 6) | st.just(AXIAL) | st.just(CORONAL),
    pixel_spacing=st.none() | st.tuples(st.floats(), st.floats()) | st.just((0.5, 0.5)),
    slice_thickness_mm=st.none() | st.floats(0, 20),
    frame_of_reference_uid=st.none() | st.sampled_from(["1.2.9", "1.2.8"]),
    instance_number=st.none() | st.integers(),
    acquisition_number=st.none() | st.integers(-1, 4),
    series_description=st.sampled_from(["", "CTA", "Bone", "MIP"]) | st.text(max_size=8),
    convolution_kernel=st.sampled_from(["", "H60s", "FC3"]) | st.text(max_size=5),
    contrast_agent=st.text(max_size=3),
    acquisition_datetime=st.sampled_from(["", "20240101", "20240101101010"]),
)


@given(
    st.lists(st.lists(images, min_size=1, max_size=25, unique_by=lambda i: i.sop_instance_uid), max_size=3),
    st.randoms(),
)
def test_whatever_headers_say_every_stack_has_one_place_and_order_does_not_matter(
    contents: list[list[InstanceFacts]], random: Random
) -> None:
    series = [SeriesFacts(series_instance_uid=f"1.2.{n}", instances=tuple(c)) for n, c in enumerate(contents)]
    selection = select_series(study(*series), POLICY)
    everything = [*selection.candidates, *selection.refused]
    assert {c.stack.series_instance_uid for c in everything} == {s.series_instance_uid for s in series}
    ranking = ranking_of(selection.candidates[0] if selection.candidates else None, everything)
    assert [line.rank for line in ranking] == list(range(1, len(everything) + 1))
    assert sum(line.read for line in ranking) == min(1, len(selection.candidates))
    assert all((line.refusal is None) == line.read for line in ranking)

    for one in contents:
        random.shuffle(one)
    shuffled = [replace(s, instances=tuple(c)) for s, c in zip(series, contents, strict=True)][::-1]
    assert ranking_of(None, everything) == ranking_of(
        None, [*(again := select_series(study(*shuffled), POLICY)).candidates, *again.refused]
    )
