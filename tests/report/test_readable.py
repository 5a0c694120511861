"""What was said comes back: the report parsed, printed, and refused where it is none of ours."""

import dataclasses
import json
from collections.abc import Callable
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.uid import ImplicitVRLittleEndian

from ichd.domain.delivery import ObjectKind
from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES, Finding, ReadingRule, Threshold, conclude
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.domain.study import SkippedSeries
from ichd.report import codes
from ichd.report.content import MAX_SKIPPED_COMMENTS
from ichd.report.printed import render_text
from ichd.report.readable import read_report
from ichd.report.sr import RUNGS, build_report
from ichd.report.tree import child, children
from tests.report.findings import CONTEXT, MODEL, bleeding, header, healthy, prediction


def through_a_file(report: Dataset) -> Dataset:
    file = BytesIO()
    report.save_as(file, enforce_file_format=True)
    return dcmread(BytesIO(file.getvalue()))


def assert_says(report: Dataset, finding: Finding) -> None:
    read = read_report(report)
    assert read.triage is finding.triage
    assert read.model == finding.prediction.model
    assert read.study_instance_uid == finding.prediction.study_instance_uid
    assert read.series_instance_uid == finding.prediction.series_instance_uid
    for said, meant in zip(read.classes, finding.classes, strict=True):
        assert said.name == meant.name
        assert said.presence is meant.presence
        assert said.threshold == meant.threshold
        assert said.key_slices == tuple(s.sop_instance_uid for s in meant.key_slices)
        assert said.key_frames == tuple(s.frame_number for s in meant.key_slices)
        # A percentage and back costs the last bit at most.
        assert said.probability == pytest.approx(meant.probability, rel=1e-15, abs=0)
        index = CLASSES.index(meant.name)
        assert said.key_probabilities == pytest.approx(
            tuple(s.probabilities[index] for s in meant.key_slices), rel=1e-15, abs=0
        )


@pytest.mark.parametrize("kind", RUNGS)
@pytest.mark.parametrize(
    "finding", [bleeding(), healthy(), bleeding(multi_frame=True)], ids=["bleeding", "healthy", "multi-frame"]
)
def test_a_report_says_what_the_finding_said(finding: Finding, kind: ObjectKind) -> None:
    assert_says(through_a_file(build_report(finding, [header()], CONTEXT, kind)), finding)


def test_notes_and_skipped_series_come_back_by_their_codes() -> None:
    finding = bleeding()
    notes = tuple(Note(remark=remark, detail="x") for remark in Remark)
    finding = dataclasses.replace(finding, prediction=dataclasses.replace(finding.prediction, notes=notes))
    skipped = [SkippedSeries(series_instance_uid="2.25.1", reason=reason) for reason in Reason]
    for first in range(0, len(skipped), MAX_SKIPPED_COMMENTS):
        context = dataclasses.replace(CONTEXT, skipped=skipped[first : first + MAX_SKIPPED_COMMENTS])
        read = read_report(through_a_file(build_report(finding, [header()], context)))
        assert read.skipped == tuple(s.reason for s in context.skipped)
        assert read.remarks == tuple(remark for remark in Remark if remark is not Remark.UNCODED)


def test_a_report_of_before_slices_had_probabilities_is_still_read() -> None:
    report = through_a_file(build_report(bleeding(), [header()], CONTEXT))
    for group in child(report, codes.IMAGING_MEASUREMENTS).ContentSequence:
        kept = [i for i in group.ContentSequence if not list(children(i, codes.SOURCE_OF_MEASUREMENT))]
        group.ContentSequence = kept
        for number in children(group, codes.PROBABILITY):
            del number.ContentSequence
    evaluations = child(report, codes.QUALITATIVE_EVALUATIONS)
    evaluations.ContentSequence = [i for i in evaluations.ContentSequence if i is not child(evaluations, codes.STATUS)]
    read = read_report(report)
    assert read.classes[4].probability == pytest.approx(0.93)
    assert read.classes[4].key_probabilities == (None,)
    assert read.status == ""
    assert "Status" not in render_text(read)


probabilities = st.floats(0.0, 1.0, allow_subnormal=False)


@given(
    rows=st.lists(st.lists(probabilities, min_size=6, max_size=6), min_size=1, max_size=4),
    cuts=st.tuples(probabilities, probabilities).map(sorted),
)
@settings(max_examples=30, deadline=None)
def test_any_finding_round_trips(rows: list[list[float]], cuts: list[float]) -> None:
    rule = ReadingRule(thresholds={n: Threshold(absent_below=cuts[0], present_from=cuts[1]) for n in CLASSES})
    finding = conclude(prediction(rows), rule)
    assert_says(through_a_file(build_report(finding, [header()], CONTEXT)), finding)


def test_it_reads_what_a_peer_re_encoded() -> None:
    report = through_a_file(build_report(bleeding(), [header()], CONTEXT))
    report.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    file = BytesIO()
    report.save_as(file, implicit_vr=True, little_endian=True)
    assert_says(dcmread(BytesIO(file.getvalue()), force=True), bleeding())


def test_json_has_the_keys_of_the_interface() -> None:
    said = json.loads(json.dumps(read_report(build_report(bleeding(), [header()], CONTEXT)).to_dict()))
    assert said["classes"] == list(CLASSES)
    assert said["triage"] == "urgent"
    assert said["model"]["weights_sha256"] == MODEL.weights_sha256
    assert said["scan"]["subdural"] == pytest.approx(0.93)
    assert said["presence"]["subarachnoid"] == "undetermined"
    assert said["accession_number"] == "A-1234"


def test_a_person_reads_it() -> None:
    text = render_text(read_report(build_report(bleeding(), [header()], CONTEXT)))
    lines = text.splitlines()
    assert lines[0] == "Intracranial haemorrhage: URGENT"
    row = next(line for line in lines if line.startswith("subdural"))
    assert "present" in row
    assert "93.0 %" in row
    assert "█" * 19 + "·" in row
    assert "…33330006" in row
    assert next(line for line in lines if line.startswith("epidural")).count("<0.1 %") == 1
    assert "trained on synthetic data: demonstration only" in text
    assert "Status      Demonstration; not for clinical use" in lines
    assert "Müller" not in text
    assert max(map(len, lines)) <= 120


def test_a_key_frame_has_its_number() -> None:
    text = render_text(read_report(build_report(bleeding(multi_frame=True), [header()], CONTEXT)))
    row = next(line for line in text.splitlines() if line.startswith("subdural"))
    assert row.endswith("…33330000 frame 7")


@pytest.mark.parametrize(
    ("probability", "shown"), [(0.0, "0.0 %"), (1.0, "100.0 %"), (0.9999, ">99.9 %"), (1e-6, "<0.1 %")]
)
def test_rounding_never_claims_certainty(probability: float, shown: str) -> None:
    finding = conclude(prediction([[probability] * 6]), ReadingRule())
    assert f" {shown}  " in render_text(read_report(build_report(finding, [header()], CONTEXT)))


def test_an_image_is_no_report() -> None:
    with pytest.raises(UserError, match="CT Image Storage"):
        read_report(header())


def test_nothing_is_no_report() -> None:
    with pytest.raises(UserError, match="not a DICOM object"):
        read_report(Dataset())


def _without_groups(report: Dataset) -> None:
    del report.ContentSequence[-2].ContentSequence[3]


def _without_the_probability_of_the_scan(report: Dataset) -> None:
    group = report.ContentSequence[-2].ContentSequence[4]
    del group.ContentSequence[group.ContentSequence.index(child(group, codes.PROBABILITY))]


def _without_evaluations(report: Dataset) -> None:
    del report.ContentSequence[-1]


def _with_a_foreign_triage(report: Dataset) -> None:
    report.ContentSequence[-1].ContentSequence[0].ConceptCodeSequence[0].CodeValue = "whatever"


def _with_a_wordless_number(report: Dataset) -> None:
    for item in report.ContentSequence[-2].ContentSequence[0].ContentSequence:
        if item.ValueType == "NUM":
            del item.MeasuredValueSequence


@pytest.mark.parametrize(
    "damage",
    [
        _without_groups,
        _without_the_probability_of_the_scan,
        _without_evaluations,
        _with_a_foreign_triage,
        _with_a_wordless_number,
    ],
)
def test_a_damaged_tree_is_refused_with_the_mend(damage: Callable[[Dataset], None]) -> None:
    report = through_a_file(build_report(bleeding(), [header()], CONTEXT))
    damage(report)
    with pytest.raises(UserError, match="not one of ichd"):
        read_report(report)
