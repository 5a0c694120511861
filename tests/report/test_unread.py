"""The short report: that a study was not read, why, and nothing about haemorrhage."""

import dataclasses
import json
from io import BytesIO

import pytest
from highdicom import sr
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from ichd.domain.delivery import ObjectKind
from ichd.domain.errors import Permanent, UserError
from ichd.domain.reason import Reason
from ichd.domain.study import SkippedSeries
from ichd.report.document import encode
from ichd.report.identity import Edition
from ichd.report.printed import render_text
from ichd.report.readable import ReadableUnread, read_document, read_report
from ichd.report.sr import RUNGS, build_report
from ichd.report.template import deviations
from ichd.report.unread import Unread, build_unread
from tests.report.findings import CONTEXT, STUDY_UID, bleeding, header

UNREAD = Unread(study_instance_uid=STUDY_UID, reason=Reason.NO_READABLE_SERIES, detail="2 series")
SKIPPED = [
    SkippedSeries(series_instance_uid="2.25.91", reason=Reason.LOCALIZER, detail="2 images"),
    SkippedSeries(series_instance_uid="2.25.92", reason=Reason.UNSUPPORTED_TRANSFER_SYNTAX),
]
TOLD = dataclasses.replace(CONTEXT, skipped=SKIPPED)


def read(report: Dataset) -> ReadableUnread:
    document = read_document(dcmread(BytesIO(encode(report))))
    assert isinstance(document, ReadableUnread)
    return document


@pytest.mark.parametrize("kind", RUNGS)
def test_it_says_why_in_every_sop_class(kind: ObjectKind) -> None:
    said = read(build_unread(UNREAD, [header()], TOLD, kind))
    assert said.reason is Reason.NO_READABLE_SERIES
    assert said.skipped == (Reason.LOCALIZER, Reason.UNSUPPORTED_TRANSFER_SYNTAX)
    assert f"{Reason.NO_READABLE_SERIES.meaning} (2 series)" in said.comments
    assert said.study_instance_uid == STUDY_UID


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_can_be_said(reason: Reason) -> None:
    report = build_unread(dataclasses.replace(UNREAD, reason=reason), [header()], CONTEXT)
    assert read(report).reason is reason
    assert deviations(report) == []


def test_it_has_no_finding_to_give() -> None:
    report = build_unread(UNREAD, [header()], TOLD)
    with pytest.raises(UserError, match="no_readable_series"):
        read_report(report)
    content = sr.srread(BytesIO(encode(report))).content
    assert isinstance(content, sr.MeasurementReport)
    assert content.get_image_measurement_groups() == []


def test_a_person_reads_it() -> None:
    lines = render_text(read(build_unread(UNREAD, [header()], TOLD))).splitlines()
    assert lines[:2] == ["Intracranial haemorrhage: NOT ANALYSED", "Reason      no_readable_series"]
    assert "Accession   A-1234" in lines
    assert any(line.startswith("Series 2.25.91 was not read: ") for line in lines)


def test_json_has_the_shape_of_a_study_that_was_not_read() -> None:
    said = json.loads(json.dumps(read(build_unread(UNREAD, [header()], TOLD)).to_dict()))
    assert (said["state"], said["reason"]) == ("not_analysed", "no_readable_series")
    assert said["scan"] is said["model"] is said["triage"] is None
    assert said["skipped_reasons"] == ["localizer", "unsupported_transfer_syntax"]


def test_it_is_another_object_than_a_finding_and_than_another_revision() -> None:
    reports = [
        build_unread(UNREAD, [header()], CONTEXT),
        build_unread(UNREAD, [header()], dataclasses.replace(CONTEXT, revision=2)),
        build_report(bleeding(), [header()], CONTEXT),
    ]
    assert len({r.SOPInstanceUID for r in reports}) == len({r.SeriesInstanceUID for r in reports}) == 3


def test_a_finding_may_replace_it_and_it_a_finding() -> None:
    unread, finding = build_unread(UNREAD, [header()], CONTEXT), build_report(bleeding(), [header()], CONTEXT)
    after_unread = dataclasses.replace(
        CONTEXT, revision=2, predecessor=Edition(study_instance_uid=STUDY_UID, revision=1)
    )
    after_finding = dataclasses.replace(CONTEXT, revision=2, predecessor=CONTEXT.edition(bleeding().prediction))
    assert read_report(build_report(bleeding(), [header()], after_unread)).predecessor == unread.SOPInstanceUID
    assert read(build_unread(UNREAD, [header()], after_finding)).predecessor == finding.SOPInstanceUID


@pytest.mark.parametrize("keyword", ["PatientBirthDate", "StudyTime", "Rows", "PixelSpacing", "SeriesInstanceUID"])
def test_a_broken_header_gives_what_it_has(keyword: str) -> None:
    source = header()
    tag = Tag(keyword)
    source._dict[tag] = RawDataElement(tag, None, 7, b"garbage", 0, False, True)
    report = dcmread(BytesIO(encode(build_unread(UNREAD, [source], CONTEXT))))
    assert report.PatientID == "P-42"
    assert read(report).reason is Reason.NO_READABLE_SERIES


def test_without_any_header_of_the_study_there_is_no_report() -> None:
    with pytest.raises(Permanent) as caught:
        build_unread(UNREAD, [Dataset()], CONTEXT)
    assert caught.value.reason is Reason.REPORT_INVALID
