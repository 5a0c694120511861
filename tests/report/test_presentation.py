"""The presentation state: valid, and dcmtk shows each key slice in the window that is meant."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset

from ichd.domain.errors import Permanent
from ichd.domain.finding import Finding, ReadingRule, Threshold, conclude
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.report.document import encode
from ichd.report.leading import marked_slices, top_slice
from ichd.report.presentation import build_presentation
from tests.report.drawn import WINDOWS, key_image
from tests.report.findings import CONTEXT, STUDY_UID, bleeding, header, healthy, slice_uid
from tests.report.judges import complaints, dumped


def several(*, multi_frame: bool = False) -> Finding:
    """Key slices of subdural and subarachnoid bleeding, and one of no kind."""
    rule = ReadingRule(
        thresholds={
            "any": Threshold(present_from=0.3, absent_below=0.3),
            "subarachnoid": Threshold(present_from=0.4, absent_below=0.4),
            "subdural": Threshold(present_from=0.6, absent_below=0.6),
        }
    )
    return conclude(bleeding(multi_frame=multi_frame).prediction, rule)


def state(finding: Finding, source: Dataset | None = None) -> Dataset:
    images = [key_image(key) for key in marked_slices(finding) or (top_slice(finding),)]
    return build_presentation(images, WINDOWS, finding, [source or header()], CONTEXT)


def bare() -> Dataset:
    source = Dataset()
    source.StudyInstanceUID = STUDY_UID
    return source


@pytest.mark.parametrize(
    ("finding", "source"),
    [
        (several(), header()),
        (several(multi_frame=True), header()),
        (healthy(), header()),
        (several(), bare()),
    ],
    ids=["bleeding", "multi-frame", "healthy", "bare source"],
)
def test_the_validator_finds_nothing(finding: Finding, source: Dataset, tmp_path: Path) -> None:
    found = complaints(state(finding, source), tmp_path, iod="GrayscaleSoftcopyPresentationState")
    assert found == []
    assert "GrayscaleSoftcopyPresentationState" in dumped(state(finding, source), tmp_path)


def test_each_key_slice_is_in_one_window_that_of_its_likeliest_kind() -> None:
    finding = several()
    items = state(finding).SoftcopyVOILUTSequence
    by_window = {
        (int(item.WindowCenter), int(item.WindowWidth)): [
            image.ReferencedSOPInstanceUID for image in item.ReferencedImageSequence
        ]
        for item in items
    }
    assert by_window[75, 215] == [slice_uid(6)], "there the subdural is likelier than the subarachnoid"
    assert by_window[40, 80] == [slice_uid(5), slice_uid(7)], "slices of no kind"
    assert len(by_window) == 2


def test_frames_are_named_one_by_one() -> None:
    written = state(several(multi_frame=True))
    (image,) = written.ReferencedSeriesSequence[0].ReferencedImageSequence
    assert list(image.ReferencedFrameNumber) == [6, 7, 8]
    (subdural,) = [item for item in written.SoftcopyVOILUTSequence if item.WindowCenter == 75]
    assert subdural.ReferencedImageSequence[0].ReferencedFrameNumber == 7


def test_class_and_probability_stand_on_each_slice() -> None:
    annotations = state(several()).GraphicAnnotationSequence
    texts = {
        item.ReferencedImageSequence[0].ReferencedSOPInstanceUID: item.TextObjectSequence[0].UnformattedTextValue
        for item in annotations
    }
    assert texts[slice_uid(6)] == "Subdural 93.0 %. AI result, not a diagnosis."
    assert texts[slice_uid(7)] == "Any haemorrhage 48.5 %. AI result, not a diagnosis."


def test_building_again_gives_the_same_bytes() -> None:
    assert encode(state(several())) == encode(state(several()))


def test_its_time_is_that_of_the_result() -> None:
    written = state(several())
    assert str(written.PresentationCreationDate) == str(written.InstanceCreationDate)
    assert "ContentDate" not in written


@pytest.mark.parametrize("case", ["rescale", "repaired", "none"])
def test_what_can_not_be_presented_says_why(case: str) -> None:
    finding = several()
    images = [key_image(key) for key in marked_slices(finding)]
    said = {"rescale": "2 pairs of Rescale Slope", "repaired": "Rescale Intercept is wrong", "none": "of no image"}
    if case == "rescale":
        images[0] = key_image(marked_slices(finding)[0], intercept=0.0)
    elif case == "repaired":
        notes = (Note(remark=Remark.HU_REPAIRED),)
        finding = replace(finding, prediction=replace(finding.prediction, notes=notes))
    else:
        images = []
    with pytest.raises(Permanent, match=said[case]) as refused:
        build_presentation(images, WINDOWS, finding, [header()], CONTEXT)
    assert refused.value.reason is Reason.REPORT_INVALID
