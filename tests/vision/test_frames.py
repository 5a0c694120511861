"""Frames of a multi-frame CT are read like slices, or refused with a reason."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.sequence import Sequence as Items

from ichd.domain.errors import NotAnalysable
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.domain.study import MULTI_FRAME_CT, InstanceFacts
from ichd.intake.header import read_facts
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.vision.frames import frame_facts
from ichd.vision.scan import HeadScan, SliceSource, load_scan
from tests.vision.enhanced import enhanced, item
from tests.vision.images import load_files
from tests.vision.test_real_images import pydicom_data
from tests.vision.transcoding import transcode

FRAMES = 12


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    recipe = PhantomRecipe(seed=5, slices=FRAMES, rows=64, voxel_mm=3.0, bleeds=("subdural",))
    return write_series(render(recipe), tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="module")
def scan(slices: list[Path]) -> HeadScan:
    return load_files(slices)


def save(image: Dataset, folder: Path) -> Path:
    path = folder / "enhanced.dcm"
    image.save_as(path, enforce_file_format=True)
    return path


def load_frames(path: Path, numbers: Sequence[int]) -> HeadScan:
    return load_scan([SliceSource(path=path, frame_number=number) for number in numbers])


def expanded(path: Path) -> tuple[InstanceFacts, ...]:
    return frame_facts(path, read_facts(path))


def remarks(scan: HeadScan) -> set[Remark]:
    return {note.remark for note in scan.notes}


@settings(max_examples=8, deadline=None)
@given(
    stored=st.permutations(range(FRAMES)),
    asked=st.permutations(range(1, FRAMES + 1)),
    sop_class_uid=st.sampled_from(MULTI_FRAME_CT),
)
def test_frames_in_any_order_are_the_scan_that_slices_are(
    slices: list[Path],
    scan: HeadScan,
    tmp_path_factory: pytest.TempPathFactory,
    stored: list[int],
    asked: list[int],
    sop_class_uid: str,
) -> None:
    image = enhanced([slices[index] for index in stored], sop_class_uid=sop_class_uid)
    read = load_frames(save(image, tmp_path_factory.mktemp("frames")), asked)
    assert np.array_equal(read.hu_SHW, scan.hu_SHW)
    assert read.z_mm == scan.z_mm
    assert read.pixel_spacing_mm == scan.pixel_spacing_mm
    assert {source.sop_instance_uid for (source,) in read.sources} == {image.SOPInstanceUID}
    assert [source.frame_number for (source,) in read.sources] == [stored.index(i) + 1 for i in range(FRAMES)]
    assert Note(remark=Remark.FRAMES_READ, detail=f"{FRAMES} frames, 1 files") in read.notes
    assert remarks(read) == remarks(scan) | {Remark.FRAMES_READ}


def test_facts_of_frames_are_those_of_slices(slices: list[Path], tmp_path: Path) -> None:
    facts = expanded(save(enhanced(slices), tmp_path))
    assert [f.frame_number for f in facts] == list(range(1, FRAMES + 1))
    for of_frame, path in zip(facts, slices, strict=True):
        of_slice = read_facts(path)
        assert of_frame.image_position == of_slice.image_position
        assert of_frame.image_orientation == of_slice.image_orientation
        assert of_frame.pixel_spacing == of_slice.pixel_spacing
        assert of_frame.slice_thickness_mm == of_slice.slice_thickness_mm
        assert of_frame.convolution_kernel == of_slice.convolution_kernel
        assert of_frame.acquisition_number == of_slice.acquisition_number
        assert of_frame.image_type == ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")
        assert of_frame.contrast_agent == ""
        assert of_frame.volume_calculation == "NONE"
        assert of_frame.acquisition_datetime == f"{of_slice.acquisition_datetime}.5"


def test_an_image_with_one_frame_and_no_groups_keeps_its_facts(slices: list[Path]) -> None:
    facts = read_facts(slices[0])
    assert frame_facts(slices[0], facts) == (facts,)


@pytest.mark.parametrize(
    ("agent", "administered", "expected"),
    [("Iodine", "YES", "Iodine"), (None, "YES", "contrast agent"), ("Iodine", "NO", ""), (None, "NO", "")],
)
def test_contrast_is_each_frames_own(
    slices: list[Path], tmp_path: Path, agent: str | None, administered: str, expected: str
) -> None:
    image = enhanced(slices)
    if agent is not None:
        image.ContrastBolusAgentSequence = item(CodeMeaning=agent)
    group = image.PerFrameFunctionalGroupsSequence[3]
    group.ContrastBolusUsageSequence = item(ContrastBolusAgentAdministered=administered)
    assert expanded(save(image, tmp_path))[3].contrast_agent == expected


def test_one_agent_of_several_is_enough(slices: list[Path], tmp_path: Path) -> None:
    image = enhanced(slices)
    image.ContrastBolusAgent = "Iodine"
    agents = (item(ContrastBolusAgentNumber=n, CodeMeaning=name)[0] for n, name in ((1, "Barium"), (2, "Iohexol")))
    image.ContrastBolusAgentSequence = Items(agents)
    usages = (("NO", "YES"), ("NO", "NO"), ("YES", "NO"))
    for group, usage in zip(image.PerFrameFunctionalGroupsSequence, usages, strict=False):
        group.ContrastBolusUsageSequence = Items(
            item(ContrastBolusAgentNumber=number, ContrastBolusAgentAdministered=answer)[0]
            for number, answer in enumerate(usage, start=1)
        )
    found = [of_frame.contrast_agent for of_frame in expanded(save(image, tmp_path))]
    assert found[:3] == ["Iohexol", "", "Barium"], "where all say NO, the whole image's agent was not given yet"


COMPRESSED = ("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90")


@pytest.mark.parametrize("table", ["basic", "none", "extended"])
@pytest.mark.parametrize("syntax", COMPRESSED)
def test_compressed_frames_are_found_one_by_one(
    slices: list[Path], scan: HeadScan, tmp_path: Path, syntax: str, table: str
) -> None:
    image = enhanced(slices)
    image.PixelRepresentation = 0  # no value of the phantom is negative, and not every encoder takes signed ones
    image.compress(syntax, generate_instance_uid=False)
    if table != "basic":
        frames = list(generate_frames(image.PixelData, number_of_frames=FRAMES))
        if table == "none":
            image.PixelData = encapsulate(frames, has_bot=False)
        else:
            image.PixelData, image.ExtendedOffsetTable, image.ExtendedOffsetTableLengths = encapsulate_extended(frames)
        image["PixelData"].is_undefined_length = True
    read = load_frames(save(image, tmp_path), (5, 2, 9))
    assert np.array_equal(read.hu_SHW, scan.hu_SHW[[1, 4, 8]])


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2"])
def test_uncompressed_frames_in_every_encoding(slices: list[Path], scan: HeadScan, tmp_path: Path, syntax: str) -> None:
    path = transcode(save(enhanced(slices), tmp_path), tmp_path, syntax)
    assert np.array_equal(load_frames(path, (5, 2, 9)).hu_SHW, scan.hu_SHW[[1, 4, 8]])


def _without_groups(image: Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence


def _without_any_groups(image: Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence, image.SharedFunctionalGroupsSequence


def _with_a_group_too_few(image: Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence[3]


def _without_a_position(image: Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence


def _with_an_empty_position(image: Dataset) -> None:
    image.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence = []


def _without_orientation(image: Dataset) -> None:
    del image.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence


def _without_shared(image: Dataset) -> None:
    del image.SharedFunctionalGroupsSequence


def _in_units_of_flow(image: Dataset) -> None:
    image.PerFrameFunctionalGroupsSequence[3].PixelValueTransformationSequence[0].RescaleType = "US"


def _without_units(image: Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence[3].PixelValueTransformationSequence[0].RescaleType


def _without_rescaling(image: Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence[3].PixelValueTransformationSequence


def _with_a_frame_too_few(image: Dataset) -> None:
    image.PixelData = image.PixelData[: -64 * 64 * 2]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_without_groups, Reason.MULTI_FRAME),
        (_without_any_groups, Reason.MULTI_FRAME),
        (_with_a_group_too_few, Reason.MULTI_FRAME),
        (_without_a_position, Reason.MISSING_GEOMETRY),
        (_with_an_empty_position, Reason.MISSING_GEOMETRY),
        (_without_orientation, Reason.MISSING_GEOMETRY),
        (_without_shared, Reason.MISSING_GEOMETRY),
        (_in_units_of_flow, Reason.NO_HOUNSFIELD_UNITS),
        (_without_units, Reason.NO_HOUNSFIELD_UNITS),
        (_without_rescaling, Reason.NO_HOUNSFIELD_UNITS),
        (_with_a_frame_too_few, Reason.FILE_DAMAGED),
    ],
)
def test_damage_has_its_reason(
    slices: list[Path], tmp_path: Path, damage: Callable[[Dataset], None], reason: Reason
) -> None:
    image = enhanced(slices)
    damage(image)
    with pytest.raises(NotAnalysable) as caught:
        load_frames(save(image, tmp_path), range(1, FRAMES + 1))
    assert caught.value.reason is reason


@pytest.mark.parametrize(("number", "said"), [(0, "no frame 0"), (FRAMES + 1, "no frame 13"), (None, "none is named")])
def test_a_frame_that_is_not_there(slices: list[Path], tmp_path: Path, number: int | None, said: str) -> None:
    path = save(enhanced(slices), tmp_path)
    with pytest.raises(NotAnalysable, match=said) as caught:
        load_scan([SliceSource(path=path, frame_number=number)])
    assert caught.value.reason is Reason.MULTI_FRAME


def test_a_frame_without_geometry_has_facts_without(slices: list[Path], tmp_path: Path) -> None:
    image = enhanced(slices)
    _without_a_position(image)
    facts = expanded(save(image, tmp_path))
    assert [f.image_position is None for f in facts] == [number == 4 for number in range(1, FRAMES + 1)]


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=60, deadline=None)
@given(damage=st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 255)), min_size=1, max_size=6))
def test_damaged_bytes_are_read_or_refused(
    slices: list[Path], tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]
) -> None:
    path = save(enhanced(slices[:3]), tmp_path_factory.mktemp("damage"))
    content = bytearray(path.read_bytes())
    for offset, value in damage:
        content[132 + offset] = value
    path.write_bytes(content)
    facts = read_facts(save(enhanced(slices[:3]), tmp_path_factory.mktemp("whole")))
    for read in (lambda: frame_facts(path, facts), lambda: load_frames(path, (1, 2, 3))):
        try:
            assert read()
        except NotAnalysable as refusal:
            assert refusal.detail  # noqa: PT017  whether it is refused depends on the damage


@pytest.mark.filterwarnings("ignore::UserWarning")
class TestRealMaps:
    """Cerebral blood flow is no HU, whatever its Modality says."""

    def test_of_pydicom(self) -> None:
        self.assert_refused(pydicom_data("eCT_Supplemental.dcm"))

    @pytest.mark.skipif("ICHD_TEST_DATA" not in os.environ, reason="ICHD_TEST_DATA is not set")
    def test_in_fragments_without_a_table(self) -> None:
        (path,) = Path(os.environ["ICHD_TEST_DATA"], "transfer-syntaxes").glob("CT0012*")
        self.assert_refused(path)

    def assert_refused(self, path: Path) -> None:
        facts = expanded(path)
        assert [f.frame_number for f in facts] == [1, 2]
        assert all(f.image_type[:3] == ("DERIVED", "PRIMARY", "PERFUSION") for f in facts)
        assert all(f.contrast_agent for f in facts)
        assert len({f.image_position for f in facts}) == len(dcmread(path).PerFrameFunctionalGroupsSequence)
        with pytest.raises(NotAnalysable) as caught:
            load_frames(path, (1, 2))
        assert caught.value.reason is Reason.NO_HOUNSFIELD_UNITS
