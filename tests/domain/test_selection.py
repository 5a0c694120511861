"""Which series is read: one case a row."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.geometry import Orientation
from ichd.domain.reason import Reason
from ichd.domain.selection import SelectionPolicy, distinct_positions, fewer_slices, select_series
from ichd.domain.study import (
    CT_IMAGE_STORAGE,
    ENHANCED_CT_IMAGE_STORAGE,
    InstanceFacts,
    SeriesFacts,
    StudyFacts,
)

AXIAL: Orientation = (1, 0, 0, 0, 1, 0)
CORONAL: Orientation = (1, 0, 0, 0, 0, -1)
POLICY = SelectionPolicy()


def tilted(degrees: float) -> Orientation:
    return (1, 0, 0, 0, math.cos(math.radians(degrees)), -math.sin(math.radians(degrees)))


def scan(slices: int = 28, *, spacing_mm: float = 5.0, uid: str = "1.2.1", **attributes: object) -> SeriesFacts:
    """A plain axial head CT, with attributes of every image changed."""
    first = InstanceFacts(
        study_instance_uid="1.2",
        series_instance_uid=uid,
        sop_instance_uid=f"{uid}.0",
        sop_class_uid=CT_IMAGE_STORAGE,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
        image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
        rows=512,
        columns=512,
        image_orientation=AXIAL,
        pixel_spacing=(0.49, 0.49),
        frame_of_reference_uid="1.2.9",
    )
    instances = (
        replace(first, sop_instance_uid=f"{uid}.{n}", image_position=(-125.0, -125.0, spacing_mm * n))
        for n in range(slices)
    )
    return SeriesFacts(
        series_instance_uid=uid,
        instances=tuple(replace(i, **attributes) for i in instances),  # type: ignore[arg-type]
    )


def with_one(series: SeriesFacts, **attributes: object) -> SeriesFacts:
    """The last image differs."""
    *others, last = series.instances
    return replace(series, instances=(*others, replace(last, **attributes)))  # type: ignore[arg-type]


READ = {
    "plain head": scan(),
    "thin slices": scan(320, spacing_mm=0.5),
    "gantry tilt of 25 degrees": scan(image_orientation=tilted(25)),
    "derived but primary, as reconstructions are": scan(image_type=("DERIVED", "PRIMARY", "AXIAL")),
    "no image type": scan(image_type=()),
    "the body part says chest": scan(body_part_examined="CHEST"),
    "a position twice": with_one(scan(), image_position=(-125.0, -125.0, 0.0)),
    "one image lacks its frame of reference": with_one(scan(), frame_of_reference_uid=None),
    "uneven spacing": with_one(scan(), image_position=(-125.0, -125.0, 138.0)),
    "fewest slices that are read": scan(10, spacing_mm=9.0),
    "most slices that are read": scan(400, spacing_mm=0.4),
    "from head to foot": scan(spacing_mm=-5.0),
}

SKIPPED = {
    "other modality": (scan(modality="MR"), Reason.NO_CT_IMAGES, "Modality MR"),
    "no modality": (scan(modality=""), Reason.NO_CT_IMAGES, "Modality none"),
    "enhanced": (scan(1, sop_class_uid=ENHANCED_CT_IMAGE_STORAGE), Reason.MULTI_FRAME, "1 frames"),
    "several frames": (scan(1, number_of_frames=60), Reason.MULTI_FRAME, "60 frames"),
    "scout": (
        scan(2, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), image_orientation=CORONAL),
        Reason.LOCALIZER,
        "2 of 2 images",
    ),
    "screen capture": (
        scan(image_type=("DERIVED", "SECONDARY", "REFORMATTED")),
        Reason.DERIVED_SECONDARY,
        "DERIVED\\SECONDARY\\REFORMATTED",
    ),
    "no position": (scan(image_position=None), Reason.MISSING_GEOMETRY, "28 of 28 images"),
    "one without spacing": (with_one(scan(), pixel_spacing=None), Reason.MISSING_GEOMETRY, "1 of 28 images"),
    "spacing of nothing": (scan(pixel_spacing=(0.0, 0.5)), Reason.MISSING_GEOMETRY, "28 of 28 images"),
    "one without orientation": (with_one(scan(), image_orientation=None), Reason.MISSING_GEOMETRY, "1 of 28 images"),
    "orientation of nothing": (scan(image_orientation=(0,) * 6), Reason.MISSING_GEOMETRY, "28 of 28 images"),
    "position at infinity": (
        with_one(scan(), image_position=(0.0, 0.0, math.inf)),
        Reason.MISSING_GEOMETRY,
        "1 of 28 images",
    ),
    "position that is no number": (
        with_one(scan(), image_position=(0.0, 0.0, math.nan)),
        Reason.MISSING_GEOMETRY,
        "1 of 28 images",
    ),
    "two sizes": (with_one(scan(), rows=256), Reason.INCONSISTENT_SERIES, "2 image sizes"),
    "two frames of reference": (
        with_one(scan(), frame_of_reference_uid="1.2.8"),
        Reason.INCONSISTENT_SERIES,
        "2 frames of reference",
    ),
    "one slice turned": (
        with_one(scan(), image_orientation=tilted(5)),
        Reason.INCONSISTENT_SERIES,
        "slices are not parallel",
    ),
    "coronal reformat that calls itself axial": (scan(image_orientation=CORONAL), Reason.NOT_AXIAL, "90 degrees"),
    "tilted too far": (scan(image_orientation=tilted(31)), Reason.NOT_AXIAL, "31 degrees"),
    "one slice": (scan(1), Reason.TOO_FEW_SLICES, "1 positions, 10 needed"),
    "nine slices": (scan(9, spacing_mm=10.0), Reason.TOO_FEW_SLICES, "9 positions, 10 needed"),
    "one position many times": (scan(60, spacing_mm=0.0), Reason.TOO_FEW_SLICES, "1 positions, 10 needed"),
    "whole body": (scan(401), Reason.TOO_MANY_SLICES, "401 positions, at most 400"),
    "a slab": (scan(20, spacing_mm=2.0), Reason.SHORT_COVERAGE, "38 mm, 80 mm needed"),
}


@pytest.mark.parametrize("case", READ)
def test_read(case: str) -> None:
    selection = select_series(StudyFacts(study_instance_uid="1.2", series=(READ[case],)), POLICY)
    assert selection.candidates == (READ[case],)
    assert selection.skipped == ()


@pytest.mark.parametrize("case", SKIPPED)
def test_skipped(case: str) -> None:
    series, reason, detail = SKIPPED[case]
    selection = select_series(StudyFacts(study_instance_uid="1.2", series=(series,)), POLICY)
    assert selection.candidates == ()
    (skipped,) = selection.skipped
    assert (skipped.series_instance_uid, skipped.reason, skipped.detail) == ("1.2.1", reason, detail)


def test_the_most_slices_come_first_and_the_uid_breaks_ties() -> None:
    series = (scan(28, uid="1.2.5"), scan(40, uid="1.2.7"), scan(40, uid="1.2.6"), scan(1, uid="1.2.4"))
    selection = select_series(StudyFacts(study_instance_uid="1.2", series=series), POLICY)
    assert [s.series_instance_uid for s in selection.candidates] == ["1.2.6", "1.2.7", "1.2.5"]
    assert [s.series_instance_uid for s in selection.skipped] == ["1.2.4"]
    assert select_series(StudyFacts(study_instance_uid="1.2", series=series[::-1]), POLICY).candidates == (
        selection.candidates
    )


def test_positions_count_once_not_images() -> None:
    """A series sent twice under new UIDs is not the bigger one."""
    doubled = replace(scan(uid="1.2.2"), instances=scan(uid="1.2.2").instances * 2)
    assert distinct_positions(doubled.instances) == 28
    selection = select_series(StudyFacts(study_instance_uid="1.2", series=(doubled, scan(30, uid="1.2.3"))), POLICY)
    assert selection.candidates[0].series_instance_uid == "1.2.3"


def test_the_one_that_was_not_chosen_names_the_one_that_was() -> None:
    skipped = fewer_slices(scan(20, uid="1.2.2"), scan(28, uid="1.2.3"))
    assert skipped.reason is Reason.FEWER_SLICES
    assert skipped.detail == "20 positions; series 1.2.3 with 28 is read"


def test_an_empty_study_has_nothing_to_read() -> None:
    selection = select_series(StudyFacts(study_instance_uid="1.2", series=()), POLICY)
    assert (selection.candidates, selection.skipped) == ((), ())


@given(
    st.lists(
        st.builds(
            scan,
            st.integers(1, 30),
            spacing_mm=st.floats(),
            modality=st.sampled_from(["CT", "MR", ""]),
            image_orientation=st.none() | st.tuples(*[st.floats()] * 6) | st.just(AXIAL),
            pixel_spacing=st.none() | st.tuples(st.floats(), st.floats()),
            number_of_frames=st.integers(-1, 3),
        ),
        max_size=3,
    )
)
def test_whatever_headers_say_every_series_is_in_exactly_one_list(series: list[SeriesFacts]) -> None:
    numbered = tuple(replace(s, series_instance_uid=f"1.2.{n}") for n, s in enumerate(series))
    selection = select_series(StudyFacts(study_instance_uid="1.2", series=numbered), POLICY)
    uids = [s.series_instance_uid for s in selection.candidates] + [s.series_instance_uid for s in selection.skipped]
    assert sorted(uids) == sorted(s.series_instance_uid for s in numbered)
