"""The Structured Report: valid, equal for equal arguments, and faithful to its sources."""

import dataclasses
import time
import warnings
from datetime import UTC, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import Tag

from ichd.domain.errors import Permanent
from ichd.domain.finding import CLASSES, ReadingRule, Threshold, conclude
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.domain.study import SkippedSeries
from ichd.domain.wording import HIGHEST_SLICE
from ichd.report.content import MAX_SKIPPED_COMMENTS
from ichd.report.document import encode
from ichd.report.readable import read_report
from ichd.report.sr import build_report
from tests.report.findings import (
    CONTEXT,
    CREATED_AT,
    MODEL,
    STUDY_UID,
    bleeding,
    header,
    healthy,
    prediction,
)
from tests.report.validators import complaints, dsrdump


def test_a_revision_is_valid_and_names_its_predecessor(tmp_path: Path) -> None:
    first = build_report(bleeding(), [header()], CONTEXT)
    predecessor = CONTEXT.edition(bleeding().prediction)
    second = build_report(bleeding(), [header()], dataclasses.replace(CONTEXT, revision=2, predecessor=predecessor))

    assert second.SOPInstanceUID != first.SOPInstanceUID
    assert second.SeriesInstanceUID != first.SeriesInstanceUID
    assert read_report(second).predecessor == first.SOPInstanceUID
    assert complaints(second, tmp_path, iod="Comprehensive3DSR") == []


def test_dcmtk_prints_the_codes_with_their_own_meanings(tmp_path: Path) -> None:
    said = dsrdump(build_report(bleeding(), [header()], CONTEXT), tmp_path, "+Pc")
    assert '(35486000,SCT,"Subdural hemorrhage")' in said
    assert '(1386000,SCT,"Intracranial hemorrhage")' in said


def test_building_again_gives_the_same_bytes() -> None:
    first = encode(build_report(bleeding(), [header(5), header(6)], CONTEXT))
    time.sleep(0.01)
    assert encode(build_report(bleeding(), [header(5), header(6)], CONTEXT)) == first


def test_the_demonstration_is_said_where_people_look() -> None:
    report = build_report(bleeding(), [header()], CONTEXT)
    assert report.SeriesDescription == "ICH AI result (demonstration)"
    assert any("trained on synthetic data: demonstration only" in c for c in read_report(report).comments)
    clinical = dataclasses.replace(MODEL, demonstration=False, statement="")
    assert build_report(bleeding(model=clinical), [header()], CONTEXT).SeriesDescription == "ICH AI result"


def test_it_is_complete_unverified_and_in_a_series_of_its_own() -> None:
    report = build_report(bleeding(), [header()], CONTEXT)
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert (report.Modality, report.SeriesNumber) == ("SR", 9901)
    assert report.StudyInstanceUID == STUDY_UID
    assert report.SeriesInstanceUID != header().SeriesInstanceUID


def test_patient_and_study_are_the_sources() -> None:
    source = header()
    report = dcmread(BytesIO(encode(build_report(bleeding(), [source], CONTEXT))))
    for keyword in (
        "SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyDate",
        "StudyTime", "StudyID", "StudyInstanceUID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName",
    ):  # fmt: skip
        assert report[keyword].value == source[keyword].value, keyword


def test_the_sources_are_left_as_they_were() -> None:
    source = header()
    source.PatientIdentityRemoved, source.DeidentificationMethod = "YES", None
    before = source.to_json()
    report = build_report(bleeding(), [source], CONTEXT)
    report.PatientName = "Somebody^Else"
    assert source.to_json() == before


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "山田^太郎"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 144", "Люкceмбypг"),
    ],
)
def test_names_survive_their_character_set(charset: str | list[str] | None, name: str) -> None:
    source = header()
    source.SpecificCharacterSet, source.PatientName = charset, name
    del source.StudyDescription, source.ReferringPhysicianName
    file = BytesIO()
    source.save_as(file, implicit_vr=False, little_endian=True)
    source = dcmread(BytesIO(file.getvalue()), force=True)
    report = dcmread(BytesIO(encode(build_report(bleeding(), [source], CONTEXT))))
    assert report.PatientName == name


@pytest.mark.parametrize("charset", ["ISO_IR 999", "utf8", None])
def test_an_odd_character_set_passes_the_bytes_on(charset: str | list[str] | None) -> None:
    raw = "Müller^Jörg".encode()
    source = header()
    source.SpecificCharacterSet = charset
    tag = Tag("PatientName")
    source._dict[tag] = RawDataElement(tag, "PN", len(raw), raw, 0, False, True)
    del source.StudyDescription, source.ReferringPhysicianName
    report = encode(build_report(bleeding(), [source], CONTEXT))
    assert raw in report


def test_a_malformed_birth_date_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    source = header()
    value = b"born in 1950"
    source._dict[Tag("PatientBirthDate")] = RawDataElement(
        Tag("PatientBirthDate"), "DA", len(value), value, 0, False, True
    )
    with warnings.catch_warnings(), caplog.at_level("DEBUG"):
        warnings.simplefilter("error")  # pydicom's warnings quote the value
        build_report(bleeding(), [source], CONTEXT)
    assert "1950" not in caplog.text


def test_missing_attributes_stay_empty(tmp_path: Path) -> None:
    source = Dataset()
    source.StudyInstanceUID = STUDY_UID
    report = build_report(bleeding(), [source], CONTEXT)
    for keyword in ("PatientName", "PatientID", "PatientSex", "StudyDate", "AccessionNumber"):
        assert keyword in report
        assert not report[keyword].value
    assert complaints(report, tmp_path, iod="Comprehensive3DSR") == []


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("PatientWeight", "DS", b"heavy "),
        ("PatientBirthDate", "DA", b"sometime"),
        ("PatientSex", "CS", b"X "),
        ("StudyTime", "TM", b"noon"),
        ("PatientID", "LO", b"x" * 200),
        ("StudyID", "SH", b"\xff\xfe"),
        ("PatientName", "PN", b"a=b=c=d=e^\xff"),
    ],
)
def test_garbled_attributes_never_stop_a_report(keyword: str, vr: str, value: bytes) -> None:
    source = header()
    source._dict[Tag(keyword)] = RawDataElement(Tag(keyword), vr, len(value), value, 0, False, True)
    report = dcmread(BytesIO(encode(build_report(bleeding(), [source], CONTEXT))))
    assert report.AccessionNumber == "A-1234"
    assert read_report(report).classes[4].probability == pytest.approx(0.93)


def test_an_unnamed_deidentification_stays_legal(tmp_path: Path) -> None:
    source = header()
    source.PatientIdentityRemoved, source.DeidentificationMethod = "YES", None
    report = build_report(bleeding(), [source], CONTEXT)
    assert report.PatientIdentityRemoved == "YES"
    assert complaints(report, tmp_path, iod="Comprehensive3DSR") == []


def test_times_follow_the_sources_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    source = header()
    source.add(DataElement(Tag("TimezoneOffsetFromUTC"), "SH", "-0530"))
    report = build_report(bleeding(), [source], CONTEXT)
    local = CREATED_AT.astimezone(UTC) - timedelta(hours=5, minutes=30)
    assert str(report.ContentDate) == local.strftime("%Y%m%d")
    assert str(report.ContentTime) == local.strftime("%H%M%S.%f")
    assert report.TimezoneOffsetFromUTC == "-0530"

    source.TimezoneOffsetFromUTC = "+9999"
    assert str(build_report(bleeding(), [source], CONTEXT).ContentTime) == CREATED_AT.strftime("%H%M%S.%f")


def test_a_negative_report_still_names_the_series_that_was_read() -> None:
    report = build_report(healthy(), [header()], CONTEXT)
    assert read_report(report).series_instance_uid == header().SeriesInstanceUID
    assert all(not c.key_slices for c in read_report(report).classes)


def test_skipped_series_are_said_but_do_not_drown_the_finding() -> None:
    skipped = [
        SkippedSeries(series_instance_uid=f"2.25.{i}", reason=Reason.LOCALIZER, detail="2 of 2 images")
        for i in range(40)
    ]
    comments = read_report(build_report(bleeding(), [header()], dataclasses.replace(CONTEXT, skipped=skipped))).comments
    assert sum("was not read" in c for c in comments) == MAX_SKIPPED_COMMENTS
    assert comments[-1] == "30 more series were not read."


@pytest.mark.parametrize("sources", [[], [Dataset()]], ids=["none", "another study"])
def test_no_source_of_the_study_is_a_coded_reason(sources: list[Dataset]) -> None:
    with pytest.raises(Permanent) as caught:
        build_report(bleeding(), sources, CONTEXT)
    assert caught.value.reason is Reason.REPORT_INVALID


def test_a_report_is_small() -> None:
    """Six kinds on three slices each of 36; what it costs to build is `tests/benchmarks/delivery.py`'s to say."""
    rows = [[0.9 / (1 + abs(i - 18)) + 0.05] * 6 for i in range(36)]
    rule = ReadingRule(thresholds={name: Threshold(present_from=0.3, absent_below=0.3) for name in CLASSES})
    finding = conclude(prediction(rows), rule)
    assert [len(c.key_slices) for c in finding.classes] == [3] * 6

    assert len(encode(build_report(finding, [header()], CONTEXT))) <= 80 * 1024


def test_size_does_not_grow_with_the_series() -> None:
    short, long = (
        len(encode(build_report(bleeding(slices), [header(i) for i in range(3)], CONTEXT))) for slices in (12, 400)
    )
    assert short == pytest.approx(long, abs=256)


def test_what_was_noticed_about_the_input_is_said() -> None:
    finding = bleeding()
    note = Note(remark=Remark.TILTED, detail="12.0 degrees")
    noted = dataclasses.replace(finding, prediction=dataclasses.replace(finding.prediction, notes=(note,)))
    comments = read_report(build_report(noted, [header()], CONTEXT)).comments
    assert "Input: the slices are tilted against axial: 12.0 degrees." in comments
    assert HIGHEST_SLICE in comments


def test_other_thresholds_are_another_report() -> None:
    finding = bleeding()
    model = dataclasses.replace(finding.prediction.model, bundle_sha256="e" * 64)
    other = dataclasses.replace(finding, prediction=dataclasses.replace(finding.prediction, model=model))
    first, second = (build_report(f, [header()], CONTEXT) for f in (finding, other))
    assert first.SOPInstanceUID != second.SOPInstanceUID


@pytest.mark.parametrize("keyword", ["PatientBirthDate", "PatientComments", "ProcedureCodeSequence"])
def test_a_value_that_can_not_be_encoded_is_left_out(keyword: str) -> None:
    source = header()
    bad = DataElement(Tag("PatientBirthDate"), "DA", 19500102, validation_mode=IGNORE)
    if keyword == "ProcedureCodeSequence":
        item = Dataset()
        item.add(bad)
        source.ProcedureCodeSequence = [item]
    else:
        source.add(DataElement(Tag(keyword), "DA", 19500102, validation_mode=IGNORE))
    report = dcmread(BytesIO(encode(build_report(bleeding(), [source], CONTEXT))))
    assert report.PatientName == header().PatientName
    assert "PatientBirthDate" in report
    assert not report.get(keyword)


def test_an_object_that_can_not_be_encoded_has_a_coded_reason_that_quotes_nothing() -> None:
    report = build_report(bleeding(), [header()], CONTEXT)
    report.add(DataElement(Tag("PatientBirthDate"), "DA", 19500102, validation_mode=IGNORE))
    with pytest.raises(Permanent) as caught:
        encode(report)
    assert caught.value.reason is Reason.REPORT_INVALID
    assert "1950" not in str(caught.value)
