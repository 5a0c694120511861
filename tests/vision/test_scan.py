"""DICOM files to a HeadScan: order and orientation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason

from .images import Image, ramp
from .loading import load, refusal


class TestOrder:
    @settings(max_examples=30, deadline=None)
    @given(
        positions=st.lists(st.integers(-150, 150).map(lambda z: 20 * z), min_size=1, max_size=8, unique=True),
        tilt=st.floats(-29, 29),
        data=st.data(),
    )
    def test_inferior_first_whatever_the_instance_numbers_and_the_tilt(
        self, tmp_path_factory: pytest.TempPathFactory, positions: list[int], tilt: float, data: st.DataObject
    ) -> None:
        numbers = data.draw(st.permutations(range(len(positions))))
        cosine, sine = float(np.cos(np.radians(tilt))), float(np.sin(np.radians(tilt)))
        scan = load(
            tmp_path_factory.mktemp("order"),
            *(
                Image(
                    stored=ramp(start=z),
                    position=(-100.0, 7.0, z / 10),
                    orientation=(1, 0, 0, 0, round(cosine, 7), round(sine, 7)),
                    instance_number=number,
                )
                for z, number in zip(positions, numbers, strict=True)
            ),
        )
        assert [int(v) for v in scan.hu_SHW[:, 0, 0]] == [max(z, -1024) for z in sorted(positions)]
        assert list(scan.z_mm) == sorted(scan.z_mm)
        assert np.diff(scan.z_mm) == pytest.approx(np.diff(np.sort(positions)) / 10 * cosine, abs=1e-3)

    def test_tilt_is_kept_and_noted(self, tmp_path: Path) -> None:
        images = [
            Image(stored=ramp(), position=(0, 0, z), orientation=(1, 0, 0, 0, 0.9483237, -0.3173047)) for z in (0, 5)
        ]
        scan = load(tmp_path, *images)
        assert np.array_equal(scan.hu_SHW[0], ramp())
        assert Note(remark=Remark.TILTED, detail="18.5 degrees") in scan.notes

    def test_of_one_position_the_latest_is_kept(self, tmp_path: Path) -> None:
        first = Image(stored=ramp(start=1), instance_number=7, acquisition_number=1, sop_instance_uid="1.2.3.9")
        repeat = replace(
            first, stored=ramp(start=2), instance_number=2, acquisition_number=2, sop_instance_uid="1.2.3.1"
        )
        again = replace(first, stored=ramp(start=3), instance_number=8, sop_instance_uid="1.2.3.2")
        above = replace(first, stored=ramp(start=4), position=(0, 0, 5), sop_instance_uid="1.2.3.5")
        for order in ((first, repeat, again, above), (above, again, repeat, first)):
            scan = load(tmp_path, *order)
            assert [source.sop_instance_uid for (source,) in scan.sources] == ["1.2.3.1", "1.2.3.5"]
            assert [int(v) for v in scan.hu_SHW[:, 0, 0]] == [2, 4]
            assert scan.notes == (Note(remark=Remark.DUPLICATE_POSITIONS, detail="2"),)

    def test_every_second_slice_missing_is_told_by_thickness(self, tmp_path: Path) -> None:
        for folder in ("halved", "ends", "thin"):
            (tmp_path / folder).mkdir()
        halved = [Image(stored=ramp(), position=(0, 0, z), thickness_mm=7.0) for z in range(0, 140, 14)]
        (note,) = load(tmp_path / "halved", *halved).notes
        assert note == Note(remark=Remark.SLICES_MISSING, detail="slices of 7 mm every 14 mm")
        ends = [Image(stored=ramp(), position=(0, 0, z), thickness_mm=5.0) for z in (0, 10, 15, 20, 25, 30, 40)]
        assert [
            note.detail for note in load(tmp_path / "ends", *ends).notes if note.remark is Remark.SLICES_MISSING
        ] == [
            "10 mm between 0 and 10 mm",
            "10 mm between 30 and 40 mm",
        ]
        thin = [Image(stored=ramp(), position=(0, 0, z), thickness_mm=2.5) for z in range(0, 50, 5)]
        assert load(tmp_path / "thin", *thin).notes == ()

    @pytest.mark.parametrize("count", [1, 2, 400])
    def test_one_two_and_four_hundred_slices(self, tmp_path: Path, count: int) -> None:
        scan = load(tmp_path, *(Image(stored=ramp(16, 16, z), position=(0, 0, z * 2)) for z in range(count)))
        assert scan.hu_SHW.shape == (count, 16, 16)
        assert len({source.sop_instance_uid for (source,) in scan.sources}) == len(scan.z_mm) == count

    def test_more_are_refused(self, tmp_path: Path) -> None:
        images = [Image(stored=ramp(16, 16), position=(0, 0, z * 2)) for z in range(401)]
        assert refusal(tmp_path, *images).reason is Reason.TOO_MANY_SLICES


ORIENTATIONS = [
    # along a row, along a column: as stored
    ((1, 0, 0), (0, 1, 0)),
    ((-1, 0, 0), (0, 1, 0)),
    ((1, 0, 0), (0, -1, 0)),
    ((-1, 0, 0), (0, -1, 0)),  # prone, or turned
    ((0, 1, 0), (1, 0, 0)),
    ((0, -1, 0), (1, 0, 0)),
    ((0, 1, 0), (-1, 0, 0)),
    ((0, -1, 0), (-1, 0, 0)),
]


@pytest.mark.parametrize(("along_row", "along_column"), ORIENTATIONS)
def test_every_orientation_is_brought_upright(
    tmp_path: Path, along_row: tuple[int, ...], along_column: tuple[int, ...]
) -> None:
    """Paint each pixel with its patient coordinates; upright, x must grow with columns and y with rows."""
    row, column = np.mgrid[:20, :24]
    x = row * along_column[0] * 2 + column * along_row[0]  # 2 mm between rows, 1 mm between columns
    y = row * along_column[1] * 2 + column * along_row[1]
    images = [
        Image(
            stored=axis.astype(np.int16),
            orientation=(*along_row, *along_column),
            spacing=(2.0, 1.0),
            position=(0, 0, z),
        )
        for z, axis in zip((0, 5), (x, y), strict=True)
    ]
    scan = load(tmp_path, *images)
    x_HW, y_HW = scan.hu_SHW
    between_rows, between_columns = scan.pixel_spacing_mm
    assert np.all(np.diff(x_HW, axis=1) == between_columns)
    assert np.all(np.diff(x_HW, axis=0) == 0)
    assert np.all(np.diff(y_HW, axis=0) == between_rows)
    assert np.array_equal(scan.upright.apply(images[0].stored), x_HW)


@st.composite
def same_head_in_any_form(draw: st.DrawFn) -> tuple[list[Image], str]:
    """One volume as a scanner may export it: turned, in any order of files, the patient lying any way."""
    along_row, along_column = draw(st.sampled_from(ORIENTATIONS))
    patient_position = draw(st.sampled_from(["HFS", "FFS", "HFP", "FFP", "HFDR", "HFDL", "FFDR", "FFDL"]))
    images = []
    for index, numbered in enumerate(draw(st.permutations(range(5)))):
        plane_yx = ramp(20, 24, start=1000 * index)
        stored = plane_yx if along_row[0] else plane_yx.T
        rightmost, frontmost = 0.0, 0.0
        if -1 in (along_row[0], along_column[0]):
            stored, rightmost = stored[:, ::-1] if along_row[0] else stored[::-1], 23.0
        if -1 in (along_row[1], along_column[1]):
            stored, frontmost = stored[::-1] if along_column[1] else stored[:, ::-1], 19.0
        images.append(
            Image(
                stored=np.ascontiguousarray(stored),
                orientation=(*along_row, *along_column),
                position=(rightmost, frontmost, 5.0 * index),
                instance_number=numbered,
                patient_position=patient_position,
            )
        )
    return draw(st.permutations(images)), patient_position


@settings(max_examples=60, deadline=None)
@given(exported=same_head_in_any_form())
def test_the_same_head_however_it_was_exported(
    tmp_path_factory: pytest.TempPathFactory, exported: tuple[list[Image], str]
) -> None:
    """Pins the direction too: slice 0 is the lowest, row 0 the front, column 0 the patient's right."""
    images, patient_position = exported
    scan = load(tmp_path_factory.mktemp("head"), *images)
    assert np.array_equal(scan.hu_SHW, [ramp(20, 24, start=1000 * index) for index in range(5)])
    assert scan.z_mm == (0.0, 5.0, 10.0, 15.0, 20.0)
    lying = [Note(remark=Remark.NOT_SUPINE, detail=patient_position)]
    assert scan.notes == tuple([] if patient_position in {"HFS", "FFS"} else lying)


@pytest.mark.parametrize(
    ("z_mm", "said"),
    [
        ((0, 5, 10, 15), None),
        ((0, 5.1, 9.9, 15.0), None),
        ((0, 0.6, 1.3, 1.9), None),
        ((0, 3, 6, 11, 16), "3.0 to 5.0 mm"),
        ((0, 5, 10, 15, 25), "5.0 to 10.0 mm"),
        ((0, 5, 10, 20, 25), None),  # a single missing slice is a hole
        ((0, 5, 10, 40, 45), None),  # a hole has a note of its own
    ],
)
def test_uneven_spacing_is_noted_with_its_numbers(tmp_path: Path, z_mm: tuple[float, ...], said: str | None) -> None:
    scan = load(tmp_path, *(Image(stored=ramp(), position=(0, 0, z)) for z in z_mm))
    assert [n.detail for n in scan.notes if n.remark is Remark.UNEVEN_SPACING] == ([said] if said else [])
