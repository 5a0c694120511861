"""DICOM files to a HeadScan: order, orientation, HU, and a coded reason for everything else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichd.domain.errors import NotAnalysable, Transient
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.vision.pixels import read_pixels
from ichd.vision.scan import HeadScan
from ichd.vision.slices import read_header

from .images import Image, load_files, ramp


def remarks(scan: HeadScan) -> list[Remark]:
    return [note.remark for note in scan.notes]


def load(folder: Path, *images: Image) -> HeadScan:
    return load_files([image.write(folder / f"{index:03}.dcm") for index, image in enumerate(images)])


def refusal(folder: Path, *images: Image) -> NotAnalysable:
    with pytest.raises(NotAnalysable) as caught:
        load(folder, *images)
    return caught.value


def hu_of(tmp_path: Path, **image: Any) -> list[float]:
    """The first four HU of the first row."""
    return [float(v) for v in load(tmp_path, Image(**image)).hu_SHW[0, 0, :4]]


def stored(*values: int, dtype: type = np.int16) -> Any:
    pixels: Any = np.zeros((16, 16), dtype=dtype)
    pixels[0, : len(values)] = values
    return pixels


class TestHounsfieldUnits:
    def test_slope_and_intercept_are_each_slices_own(self, tmp_path: Path) -> None:
        scan = load(
            tmp_path,
            Image(stored=stored(100), slope=1.0, intercept=-24.0),
            Image(stored=stored(100), slope=2.0, intercept=-1024.0, position=(0, 0, 5)),
        )
        assert scan.hu_SHW.dtype == np.int16
        assert [int(v) for v in scan.hu_SHW[:, 0, 0]] == [76, -824]

    def test_fractions_of_hu_are_kept_in_float32(self, tmp_path: Path) -> None:
        scan = load(
            tmp_path,
            Image(stored=stored(101), slope=0.5, intercept=-10.25),
            Image(stored=stored(101), position=(0, 0, 5)),
        )
        assert scan.hu_SHW.dtype == np.float32
        assert [float(v) for v in scan.hu_SHW[:, 0, 0]] == [40.25, 101.0]

    def test_unsigned_pixels_beyond_int16(self, tmp_path: Path) -> None:
        assert hu_of(tmp_path, stored=stored(0, 1064, 33000, 65535, dtype=np.uint16), intercept=-1024.0) == [
            -1024, 40, 31976, 32767,
        ]  # fmt: skip

    def test_below_air_there_is_only_air(self, tmp_path: Path) -> None:
        assert hu_of(tmp_path, stored=stored(-3024, -1024, -5))[:3] == [-1024, -1024, -5]

    def test_bits_above_bits_stored_are_cut_unsigned(self, tmp_path: Path) -> None:
        pixels = stored(0x0428, 0xF428, 0x1428, dtype=np.uint16)
        assert hu_of(tmp_path, stored=pixels, bits_stored=12, intercept=-1024.0)[:3] == [40, 40, 40]

    def test_bits_above_bits_stored_are_cut_and_the_sign_extended(self, tmp_path: Path) -> None:
        pixels = stored(0x0FFB, 0x0028, 0x7028)  # -5 in twelve bits, 40, 40 under noise
        assert hu_of(tmp_path, stored=pixels, bits_stored=12)[:3] == [-5, 40, 40]

    def test_monochrome1_is_a_matter_of_display(self, tmp_path: Path) -> None:
        scan = load(tmp_path, Image(stored=stored(40, -1000), photometric="MONOCHROME1"))
        assert [int(v) for v in scan.hu_SHW[0, 0, :2]] == [40, -1000]
        assert remarks(scan) == [Remark.INVERTED_DISPLAY]

    def test_inverted_storage_with_a_negative_slope(self, tmp_path: Path) -> None:
        pixels = stored(2000, 960, dtype=np.uint16)
        assert hu_of(tmp_path, stored=pixels, photometric="MONOCHROME1", slope=-1.0, intercept=1000.0)[:2] == [
            -1000,
            40,
        ]

    def test_padding_becomes_air(self, tmp_path: Path) -> None:
        assert hu_of(tmp_path, stored=stored(3000, 3001), padding=3000)[:2] == [-1024, 3001]

    def test_padding_range_either_way_round(self, tmp_path: Path) -> None:
        pixels = stored(2999, 3000, 3005, 3010)
        for value, limit in ((3000, 3010), (3010, 3000)):
            assert hu_of(tmp_path, stored=pixels, padding=value, padding_limit=limit) == [2999, -1024, -1024, -1024]

    def test_padding_written_with_the_wrong_sign(self, tmp_path: Path) -> None:
        dataset = Image(stored=stored(-2000, 40), intercept=3000.0).dataset()
        dataset.add_new("PixelPaddingValue", "US", 63536)  # the bits of -2000
        dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        assert [int(v) for v in read_pixels(read_header(tmp_path / "a.dcm")).hu_HW[0, :2]] == [-1024, 3040]

    def test_padding_is_compared_before_the_unused_bits_are_cut_off(self, tmp_path: Path) -> None:
        pixels = stored(63536, 2096, dtype=np.uint16)
        dataset = Image(stored=pixels, bits_stored=12, intercept=-1024.0).dataset()
        dataset.add_new("PixelPaddingValue", "US", 63536)  # whose low twelve bits are 2096: bone
        dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
        assert [int(v) for v in read_pixels(read_header(tmp_path / "a.dcm")).hu_HW[0, :2]] == [-1024, 1072]

    def test_padding_among_tissue_is_not_believed_and_noted(self, tmp_path: Path) -> None:
        scan = load(tmp_path, Image(stored=stored(0, 35), padding=0))
        assert [int(v) for v in scan.hu_SHW[0, 0, :2]] == [0, 35]
        assert remarks(scan) == [Remark.PADDING_IGNORED]

    def test_a_disk_that_fails_is_no_damaged_file(self, tmp_path: Path) -> None:
        with pytest.raises(Transient) as caught:
            load_files([tmp_path])
        assert caught.value.reason is Reason.STORE_UNAVAILABLE


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


def test_a_scale_that_was_lost_is_repaired_and_noted(tmp_path: Path) -> None:
    """Twelve bits, unsigned, intercept 0: air of -1000 HU stands as 3096 (paper.md, preprocessing)."""
    scan = load(tmp_path, Image(stored=stored(3096, 40, 1400, dtype=np.uint16), bits_stored=12))
    assert [int(v) for v in scan.hu_SHW[0, 0, :3]] == [-1000, 40, 1400]
    assert scan.notes == (Note(remark=Remark.HU_REPAIRED, detail="1 of 1 slices"),)


@pytest.mark.parametrize("units", ["Z_EFF", "MGML", "ED"])
def test_spectral_images_are_no_hu(tmp_path: Path, units: str) -> None:
    dataset = Image(stored=ramp()).dataset()
    dataset.RescaleType = units
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(NotAnalysable, match=units) as caught:
        load_files([tmp_path / "a.dcm"])
    assert caught.value.reason is Reason.NO_HOUNSFIELD_UNITS


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"orientation": (1, 0, 0, 0, 0, -1)}, Reason.NOT_AXIAL),
            ({"orientation": (1, 0, 0, 1, 0, 0)}, Reason.MISSING_GEOMETRY),
            ({"orientation": ()}, Reason.MISSING_GEOMETRY),
            ({"position": (0.0, 0.0)}, Reason.MISSING_GEOMETRY),
            ({"spacing": (0.0, 1.0)}, Reason.MISSING_GEOMETRY),
            ({"spacing": (1e-310, 1e-310)}, Reason.MISSING_GEOMETRY),
            ({"slope": None}, Reason.NO_HOUNSFIELD_UNITS),
            ({"intercept": None}, Reason.NO_HOUNSFIELD_UNITS),
            ({"slope": 0.0}, Reason.NO_HOUNSFIELD_UNITS),
            ({"photometric": "RGB"}, Reason.PIXELS_UNREADABLE),
            ({"bits_stored": 12, "high_bit": 15}, Reason.PIXELS_UNREADABLE),
            ({"frames": 3}, Reason.MULTI_FRAME),
            ({"stored": ramp(8, 8)}, Reason.PIXELS_UNREADABLE),
        ],
    )
    def test_of_one_image(self, tmp_path: Path, changes: dict[str, Any], reason: Reason) -> None:
        assert refusal(tmp_path, replace(Image(stored=ramp()), **changes)).reason is reason

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"stored": ramp(24, 20)}, "image sizes"),
            ({"series_instance_uid": "1.2.9"}, "series"),
            ({"frame_of_reference_uid": "1.2.9"}, "frames of reference"),
            ({"orientation": (1, 0, 0, 0, 0.995, 0.0998)}, "not parallel"),
            ({"orientation": (-1, 0, 0, 0, -1, 0)}, "not parallel"),  # same plane, turned: does not stack
            ({"spacing": (1.0, 1.1)}, "Pixel Spacing"),
        ],
    )
    def test_of_slices_that_dont_belong_together(self, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
        image = Image(stored=ramp())
        error = refusal(tmp_path, image, replace(image, position=(0, 0, 5), **changes))
        assert error.reason is Reason.INCONSISTENT_SERIES
        assert said in error.detail

    def test_of_no_file_at_all(self) -> None:
        with pytest.raises(NotAnalysable) as caught:
            load_files([])
        assert caught.value.reason is Reason.NO_CT_IMAGES

    def test_of_missing_foreign_and_short_files(self, tmp_path: Path) -> None:
        whole = Image(stored=ramp()).write(tmp_path / "whole.dcm")
        foreign = tmp_path / "foreign.dcm"
        foreign.write_bytes(b"no image" * 100)
        short = tmp_path / "short.dcm"
        short.write_bytes(whole.read_bytes()[:-300])
        for path in (tmp_path / "missing.dcm", foreign, short):
            with pytest.raises(NotAnalysable) as caught:
                load_files([path])
            assert caught.value.reason is Reason.FILE_DAMAGED, path

    def test_of_pixel_data_shorter_than_the_image(self, tmp_path: Path) -> None:
        dataset = Image(stored=ramp()).dataset()
        dataset.PixelData = dataset.PixelData[:500]
        dataset.save_as(tmp_path / "half.dcm", enforce_file_format=True)
        with pytest.raises(NotAnalysable, match="500 of 960 bytes") as caught:
            load_files([tmp_path / "half.dcm"])
        assert caught.value.reason is Reason.FILE_DAMAGED

    @pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom comments on each flaw
    @settings(max_examples=80, deadline=None)
    @given(
        damage=st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), min_size=1, max_size=6),
        cut=st.integers(0, 400),
    )
    def test_of_damaged_bytes_is_coded_and_nothing_else_escapes(
        self, tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]], cut: int
    ) -> None:
        path = Image(stored=ramp(16, 16)).write(tmp_path_factory.mktemp("damage") / "a.dcm")
        content = bytearray(path.read_bytes())
        for offset, value in damage:
            content[132 + offset % (len(content) - 132)] = value
        path.write_bytes(content[: len(content) - cut] if cut > 200 else content)
        try:
            scan = load_files([path])
        except NotAnalysable as error:
            assert error.detail  # noqa: PT017  whether it is refused depends on the damage
        else:
            assert scan.hu_SHW.ndim == 3
