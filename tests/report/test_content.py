"""The content tree: what each rung says, and how highdicom, which did not write it, understands it."""

import dataclasses
from io import BytesIO
from typing import Any

import pytest
from highdicom import sr
from pydicom import dcmread
from pydicom.sr.coding import Code
from pydicom.uid import EnhancedCTImageStorage

from ichd.domain.delivery import SOP_CLASSES, ObjectKind
from ichd.domain.finding import CLASSES, Finding, ReadingRule, Threshold, conclude
from ichd.report import codes
from ichd.report.document import encode
from ichd.report.sr import RUNGS, build_report
from ichd.report.template import deviations
from ichd.report.tree import child, children, is_coded
from tests.report.findings import (
    CONTEXT,
    MODEL,
    STUDY_UID,
    bleeding,
    header,
    healthy,
    slice_uid,
)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (ObjectKind.SR, sr.Comprehensive3DSR),
        (ObjectKind.SR_COMPREHENSIVE, sr.ComprehensiveSR),
        (ObjectKind.SR_ENHANCED, sr.EnhancedSR),
    ],
)
@pytest.mark.parametrize("finding", [bleeding(), healthy()], ids=["bleeding", "healthy"])
def test_highdicom_reads_the_same_finding_back(finding: Finding, kind: ObjectKind, document: Any) -> None:
    report = sr.srread(BytesIO(encode(build_report(finding, [header()], CONTEXT, kind))))
    assert type(report) is document
    content = report.content
    assert isinstance(content, sr.MeasurementReport)
    groups = content.get_image_measurement_groups()
    assert len(groups) == 6
    for group, meant in zip(groups, finding.classes, strict=True):
        index = CLASSES.index(meant.name)
        scan, *of_slices = group.get_measurements()
        assert group.finding_type == codes.FINDING_TYPE[meant.name]
        assert [site.topographical_modifier for site in group.finding_sites] == [None]
        assert scan.value == 100 * meant.probability
        assert scan.derivation == codes.MAXIMUM
        assert [m.value for m in of_slices] == [100 * s.probabilities[index] for s in meant.key_slices]
        assert [m.referenced_images[0].referenced_sop_instance_uid for m in of_slices] == [
            s.sop_instance_uid for s in meant.key_slices
        ]
        assert [image.referenced_sop_instance_uid for image in group.source_images] == [
            s.sop_instance_uid for s in meant.key_slices
        ]
        (presence,) = [e for e in group.get_qualitative_evaluations() if e.name == codes.PRESENCE]
        assert presence.value == codes.PRESENCE_VALUE[meant.presence]


def test_key_frames_of_a_multi_frame_image_are_named_one_by_one() -> None:
    rule = ReadingRule(thresholds={"subdural": Threshold(present_from=0.4, absent_below=0.4)})
    finding = conclude(bleeding(multi_frame=True).prediction, rule)
    report = dcmread(BytesIO(encode(build_report(finding, [header()], CONTEXT))))
    content = sr.Comprehensive3DSR.from_dataset(report).content
    assert isinstance(content, sr.MeasurementReport)
    subdural = content.get_image_measurement_groups()[4]
    assert [image.referenced_sop_instance_uid for image in subdural.source_images] == [slice_uid(0)] * 3
    assert [image.referenced_frame_numbers for image in subdural.source_images] == [[7], [6], [8]]
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert [(e.ReferencedSOPClassUID, e.ReferencedSOPInstanceUID) for e in evidence] == [
        (EnhancedCTImageStorage, slice_uid(0))
    ]


def test_each_rung_is_an_object_of_its_own_with_the_same_tree() -> None:
    reports = [build_report(bleeding(), [header()], CONTEXT, kind) for kind in RUNGS]
    assert len({r.SOPInstanceUID for r in reports}) == len({r.SeriesInstanceUID for r in reports}) == 3
    assert [r.SOPClassUID for r in reports] == [SOP_CLASSES[kind] for kind in RUNGS]
    trees = [[item.to_json() for item in r.ContentSequence] for r in reports]
    assert trees[0] == trees[1] == trees[2]


@pytest.mark.parametrize("kind", RUNGS)
def test_a_predecessor_is_named_by_its_object_of_the_same_rung(kind: ObjectKind) -> None:
    first = build_report(bleeding(), [header()], CONTEXT, kind)
    context = dataclasses.replace(CONTEXT, revision=2, predecessor=CONTEXT.edition(bleeding().prediction))
    (study,) = build_report(bleeding(), [header()], context, kind).PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (reference,) = series.ReferencedSOPSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == (STUDY_UID, first.SeriesInstanceUID)
    assert reference.ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == first.SOPClassUID


def test_a_picture_is_no_rung() -> None:
    with pytest.raises(ValueError, match="sc is no Structured Report"):
        build_report(bleeding(), [header()], CONTEXT, ObjectKind.SC)


def test_the_library_has_the_key_slices_and_what_the_series_has_in_common() -> None:
    source = header()
    source.FrameOfReferenceUID, source.Rows, source.Columns = "2.25.7", 512, 256
    source.PixelSpacing, source.SliceThickness = [0.4, 0.5], 5
    report = build_report(bleeding(), [source], CONTEXT)
    group = child(child(report, codes.IMAGE_LIBRARY), codes.IMAGE_LIBRARY_GROUP)
    images = [i for i in group.ContentSequence if i.ValueType == "IMAGE"]
    assert [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in images] == [slice_uid(6)]
    assert child(group, codes.FRAME_OF_REFERENCE).UID == "2.25.7"
    numbers = {
        i.ConceptNameCodeSequence[0].CodeMeaning: float(i.MeasuredValueSequence[0].NumericValue)
        for i in group.ContentSequence
        if i.ValueType == "NUM"
    }
    assert numbers == {
        "Pixel Data Rows": 512, "Pixel Data Columns": 256, "Horizontal Pixel Spacing": 0.5,
        "Vertical Pixel Spacing": 0.4, "Slice Thickness": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("keyword", "value"), [("PixelSpacing", [0.4]), ("PixelSpacing", None), ("Rows", None), ("SliceThickness", "")]
)
def test_what_the_header_has_not_is_not_in_the_library(keyword: str, value: Any) -> None:
    source = header()
    source.Rows, source.PixelSpacing, source.SliceThickness = 512, [0.4, 0.5], 5
    setattr(source, keyword, value)
    assert deviations(build_report(bleeding(), [source], CONTEXT)) == []


def test_a_header_of_another_series_says_nothing_of_the_one_that_was_read() -> None:
    source = header()
    source.SeriesInstanceUID, source.FrameOfReferenceUID = "2.25.8", "2.25.7"
    report = build_report(bleeding(), [source], CONTEXT)
    group = child(child(report, codes.IMAGE_LIBRARY), codes.IMAGE_LIBRARY_GROUP)
    assert not list(children(group, codes.FRAME_OF_REFERENCE))


@pytest.mark.parametrize(("demonstration", "value"), [(True, codes.DEMONSTRATION), (False, codes.RESEARCH)])
def test_every_report_says_that_it_is_no_product(demonstration: bool, value: Code) -> None:
    model = dataclasses.replace(MODEL, demonstration=demonstration)
    report = build_report(bleeding(model=model), [header()], CONTEXT)
    status = child(child(report, codes.QUALITATIVE_EVALUATIONS), codes.STATUS)
    assert is_coded(status.ConceptCodeSequence, value)
