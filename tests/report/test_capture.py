"""Secondary Captures: valid, the same bytes again, and the same pixels in other people's programs."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from ichd.domain.errors import Permanent
from ichd.domain.finding import Finding
from ichd.domain.reason import Reason
from ichd.report.capture import build_heat_captures, build_summary
from ichd.report.document import encode
from ichd.report.sr import build_report
from ichd.report.summary import draw_summary
from tests.report.drawn import heat_pictures, pictures
from tests.report.findings import CONTEXT, STUDY_UID, bleeding, header, healthy
from tests.report.judges import complaints, dumped, opened_by_dcmtk


def summary(finding: Finding, source: Dataset | None = None) -> Dataset:
    page = draw_summary(finding, pictures(finding), CONTEXT)
    return build_summary(page, finding, [source or header()], CONTEXT)


def bare() -> Dataset:
    source = Dataset()
    source.StudyInstanceUID = STUDY_UID
    return source


def garbled() -> Dataset:
    source = header()
    for keyword, vr, value in (("PatientBirthDate", "DA", b"sometime"), ("PatientWeight", "DS", b"heavy ")):
        source._dict[Tag(keyword)] = RawDataElement(Tag(keyword), vr, len(value), value, 0, False, True)
    return source


@pytest.mark.parametrize("finding", [bleeding(), healthy(), bleeding(multi_frame=True)])
def test_the_validator_finds_nothing_in_a_summary(finding: Finding, tmp_path: Path) -> None:
    assert complaints(summary(finding), tmp_path, iod="SCImage") == []


def test_the_validator_finds_nothing_where_the_source_says_nothing(tmp_path: Path) -> None:
    assert complaints(summary(bleeding(), bare()), tmp_path, iod="SCImage") == []


def test_a_garbled_source_never_stops_a_summary() -> None:
    assert dcmread(BytesIO(encode(summary(bleeding(), garbled())))).AccessionNumber == "A-1234"


def test_a_summary_says_what_it_is() -> None:
    capture = dcmread(BytesIO(encode(summary(bleeding()))))
    assert capture.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (capture.Modality, capture.ConversionType, capture.BodyPartExamined) == ("OT", "WSD", "HEAD")
    assert capture.BurnedInAnnotation == "YES"
    assert (capture.Columns, capture.PhotometricInterpretation, capture.BitsStored) == (1024, "RGB", 8)
    assert capture.StudyInstanceUID == STUDY_UID
    assert capture.SeriesInstanceUID not in {header().SeriesInstanceUID, report_series()}
    assert "not a diagnosis" in capture.ImageComments
    shown = {item.ReferencedSOPInstanceUID for item in capture.SourceImageSequence}
    assert shown == {key.sop_instance_uid for found in bleeding().classes for key in found.key_slices}


def report_series() -> str:
    return str(build_report(bleeding(), [header()], CONTEXT).SeriesInstanceUID)


def test_frames_of_a_multi_frame_image_are_named() -> None:
    (item,) = summary(bleeding(multi_frame=True)).SourceImageSequence
    assert int(item.ReferencedFrameNumber) == 7


def test_dcmtk_shows_the_page(tmp_path: Path) -> None:
    page = draw_summary(bleeding(), pictures(bleeding()), CONTEXT)
    capture = build_summary(page, bleeding(), [header()], CONTEXT)
    assert np.array_equal(opened_by_dcmtk(capture, tmp_path), np.asarray(page))
    assert "SecondaryCaptureImageStorage" in dumped(capture, tmp_path)


def test_building_again_gives_the_same_bytes() -> None:
    assert encode(summary(bleeding())) == encode(summary(bleeding()))
    one, two = ([encode(c) for c in build_heat_captures(heat_pictures(f), f, [header()], CONTEXT)]
                for f in (bleeding(), bleeding()))  # fmt: skip
    assert one == two


def test_another_revision_is_another_object() -> None:
    page = draw_summary(bleeding(), pictures(bleeding()), CONTEXT)
    second = build_summary(page, bleeding(), [header()], replace(CONTEXT, revision=2))
    first = build_summary(page, bleeding(), [header()], CONTEXT)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_no_image_of_the_study_is_an_error_with_a_reason() -> None:
    stranger = header()
    stranger.StudyInstanceUID = "2.25.9"
    with pytest.raises(Permanent) as refused:
        summary(bleeding(), stranger)
    assert refused.value.reason is Reason.REPORT_INVALID


def test_heat_maps_are_one_series_with_a_capture_each(tmp_path: Path) -> None:
    finding = bleeding()
    captures = build_heat_captures(heat_pictures(finding), finding, [header()], CONTEXT)
    assert len(captures) == sum(len(found.key_slices) for found in finding.classes)
    assert len({capture.SOPInstanceUID for capture in captures}) == len(captures)
    assert {capture.SeriesDescription for capture in captures} == {"ICH AI heat maps (demonstration)"}
    assert len({capture.SeriesInstanceUID for capture in captures}) == 1
    assert [capture.InstanceNumber for capture in captures] == list(range(1, len(captures) + 1))
    assert captures[0].DerivationDescription.startswith("Any haemorrhage, 97.0 % on slice 7.")
    for capture in captures:
        assert complaints(capture, tmp_path, iod="SCImage") == []


def test_a_map_that_was_not_made_leaves_a_gap_and_lends_its_name_to_none() -> None:
    finding = bleeding()
    every = build_heat_captures(heat_pictures(finding), finding, [header()], CONTEXT)
    fewer = build_heat_captures(heat_pictures(finding)[1:], finding, [header()], CONTEXT)
    assert [capture.SOPInstanceUID for capture in fewer] == [capture.SOPInstanceUID for capture in every[1:]]


def test_a_healthy_head_has_no_heat_maps() -> None:
    assert build_heat_captures([], healthy(), [header()], CONTEXT) == []


def test_an_odd_number_of_bytes_is_padded(tmp_path: Path) -> None:
    finding = bleeding()
    picture = heat_pictures(finding)[0]
    (capture, *_) = build_heat_captures([picture], finding, [header()], CONTEXT)
    assert len(capture.PixelData) % 2 == 0
    assert np.array_equal(opened_by_dcmtk(capture, tmp_path), np.asarray(picture.picture))
