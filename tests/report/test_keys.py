"""The Key Object Selection: which slices, in which series, with which words."""

import dataclasses
from io import BytesIO

import pytest
from highdicom.ko import KeyObjectSelectionDocument
from pydicom import Dataset, dcmread

from ichd.domain.finding import Finding, ReadingRule, Threshold, Triage, conclude
from ichd.report import codes
from ichd.report.document import encode
from ichd.report.keys import build_key_objects
from ichd.report.sr import build_report
from ichd.report.tree import child, is_coded
from tests.report.findings import CONTEXT, MODEL, SERIES_UID, STUDY_UID, bleeding, header, prediction, slice_uid


def built(finding: Finding) -> Dataset:
    return dcmread(BytesIO(encode(build_key_objects(finding, [header()], CONTEXT))))


def selected(selection: Dataset) -> list[str]:
    images = [item for item in selection.ContentSequence if item.ValueType == "IMAGE"]
    return [str(image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for image in images]


def words(selection: Dataset) -> str:
    return str(child(selection, codes.KEY_OBJECT_DESCRIPTION).TextValue)


def test_the_slices_of_what_is_called_and_not_those_of_what_is_not_sure() -> None:
    called = [0.9, 0.1, 0.1, 0.1, 0.9, 0.1]
    unsure = [0.1, 0.1, 0.1, 0.5, 0.1, 0.1]
    rule = ReadingRule(thresholds={"subarachnoid": Threshold(present_from=0.7, absent_below=0.3)})
    finding = conclude(prediction([[0.0] * 6, called, unsure, called]), rule)
    selection = built(finding)
    assert selected(selection) == [slice_uid(1), slice_uid(3)]
    assert "Triage: urgent. Called: any, subdural. Not sure: subarachnoid." in words(selection)


def test_what_is_not_sure_where_nothing_is_called() -> None:
    rule = ReadingRule(thresholds={"any": Threshold(present_from=0.7, absent_below=0.3)})
    finding = conclude(prediction([[0.0] * 6, [0.5, *[0.1] * 5]]), rule)
    assert finding.triage is Triage.INDETERMINATE
    assert selected(built(finding)) == [slice_uid(1)]


def test_the_likeliest_slice_of_a_healthy_head() -> None:
    finding = conclude(prediction([[0.01] * 6, [0.03, *[0.01] * 5], [0.02] * 6]), ReadingRule())
    selection = built(finding)
    assert selected(selection) == [slice_uid(1)]
    assert "Triage: routine. Nothing called; the slice with the highest probability is shown." in words(selection)


def test_no_slice_twice() -> None:
    finding = conclude(prediction([[0.9] * 6] * 1), ReadingRule())
    assert selected(built(finding)) == [slice_uid(0)]


def test_frames_of_one_image_are_named_one_by_one() -> None:
    rule = ReadingRule(thresholds={"subdural": Threshold(present_from=0.4, absent_below=0.4)})
    selection = built(conclude(bleeding(multi_frame=True).prediction, rule))
    images = [item.ReferencedSOPSequence[0] for item in selection.ContentSequence if item.ValueType == "IMAGE"]
    assert [image.ReferencedFrameNumber for image in images] == [7, 6, 8]
    (study,) = selection.CurrentRequestedProcedureEvidenceSequence
    assert len(study.ReferencedSeriesSequence[0].ReferencedSOPSequence) == 1


def test_it_is_of_interest_and_never_a_diagnosis() -> None:
    selection = built(bleeding())
    assert is_coded(selection.ConceptNameCodeSequence, codes.OF_INTEREST)
    assert words(selection).startswith("AI result, not a diagnosis. Demonstration; not for clinical use.")
    clinical = built(bleeding(model=dataclasses.replace(MODEL, demonstration=False)))
    assert "emonstration" not in words(clinical) + clinical.SeriesDescription


def test_same_study_own_series() -> None:
    selection = built(bleeding())
    assert (selection.StudyInstanceUID, selection.Modality) == (STUDY_UID, "KO")
    report = build_report(bleeding(), [header()], CONTEXT)
    assert len({selection.SeriesInstanceUID, report.SeriesInstanceUID, SERIES_UID}) == 3
    assert (selection.PatientID, selection.AccessionNumber) == ("P-42", "A-1234")


@pytest.mark.parametrize("multi_frame", [False, True])
def test_highdicom_reads_the_same_references(multi_frame: bool) -> None:
    selection = built(bleeding(multi_frame=multi_frame))
    document = KeyObjectSelectionDocument.from_dataset(selection)
    references = document.content.get_references()
    assert [item.referenced_sop_instance_uid for item in references] == selected(selection)
    uid = selected(selection)[0]
    assert document.resolve_reference(uid) == (STUDY_UID, SERIES_UID, uid)
