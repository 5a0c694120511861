"""HL7 messages, read back by a parser that is not ours."""

from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, Sequence, dcmread
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from ichd.domain.delivery import ObjectKind
from ichd.domain.errors import Permanent
from ichd.domain.finding import CLASSES, Finding
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.domain.study import SkippedSeries
from ichd.report.codes import FINDING_TYPE, PRESENCE_VALUE
from ichd.report.document import NOT_A_DIAGNOSIS, ReportContext
from ichd.report.hl7 import Addressee, build_oru, build_priority, build_unread_oru
from ichd.report.hl7_letter import control_id
from ichd.report.hl7_text import components, header, message, segment, text
from ichd.report.identity import Edition
from ichd.report.unread import Unread
from tests.report.findings import CONTEXT, CREATED_AT, MODEL, STUDY_UID, bleeding, healthy
from tests.report.findings import header as image_header

RIS = Addressee(destination="ris", application="RIS", facility="CITY & SONS")
REVISED = replace(CONTEXT, revision=2, predecessor=Edition(study_instance_uid=STUDY_UID, revision=1))


def parse(content: bytes) -> hl7.Message:
    return hl7.parse(content.decode("utf-8"))


def oru(finding: Finding, *, source: Dataset | None = None, context: ReportContext = CONTEXT) -> hl7.Message:
    return parse(build_oru(finding, [source or image_header()], context, RIS))


def value(parsed: hl7.Message, segment: str, field: int, component: int = 1, *, number: int = 1) -> str:
    return str(parsed.extract_field(segment, number, field, 1, component, 1))


def first(field: hl7.Field) -> str:
    """The first component, escaped as it came."""
    return str(field).split("^")[0]


def observations(parsed: hl7.Message, name: str) -> list[list[str]]:
    """OBX-4, OBX-5.1 and OBX-8 of each with this code."""
    found = []
    for number, obx in enumerate(parsed.segments("OBX"), 1):
        assert str(obx[1]) == str(number)
        if first(obx[3]) == name:
            flag = str(obx[8]) if len(obx) > 8 else ""
            found.append([str(obx[4]), parsed.unescape(first(obx[5])), flag])
    return found


def test_it_says_who_sends_what_to_whom() -> None:
    parsed = oru(bleeding())
    assert [value(parsed, "MSH", n) for n in (3, 5, 12, 18)] == ["ICHD", "RIS", "2.5.1", "UNICODE UTF-8"]
    assert value(parsed, "MSH", 6) == "CITY & SONS"
    assert str(parsed.segment("MSH")[9]) == "ORU^R01^ORU_R01"
    assert [str(s[0]) for s in parsed][:6] == ["MSH", "PID", "PV1", "ORC", "OBR", "NTE"]


def test_times_are_on_the_clock_of_the_scanner() -> None:
    source = image_header()
    source.TimezoneOffsetFromUTC = "-0500"
    parsed = oru(bleeding(), source=source)
    assert value(parsed, "MSH", 7) == value(parsed, "OBR", 22) == "20260304000607-0500"
    assert value(parsed, "OBR", 7) == "20260304050000"


def test_only_a_demonstration_models_result_is_for_training() -> None:
    clinical = bleeding(model=replace(MODEL, demonstration=False))
    assert (value(oru(bleeding()), "MSH", 11), value(oru(clinical), "MSH", 11)) == ("T", "P")


def test_the_patient_is_passed_on_in_unicode() -> None:
    source = image_header()
    source.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    source.PatientName = "Yamada^Tarou^M^Dr^III=山田^太郎=やまだ^たろう"
    source.IssuerOfPatientID = "KKH|NORD"
    source.IssuerOfPatientIDQualifiersSequence = Sequence([Dataset()])
    source.IssuerOfPatientIDQualifiersSequence[0].UniversalEntityID = "1.2.3"
    source.IssuerOfPatientIDQualifiersSequence[0].UniversalEntityIDType = "ISO"
    # Read from a file: names are bytes until somebody asks.
    file = BytesIO()
    source.file_meta = Dataset()  # type: ignore[assignment]
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(file, source, enforce_file_format=True)
    pid = oru(bleeding(), source=dcmread(BytesIO(file.getvalue()))).segment("PID")
    assert str(pid[3][0]) == "P-42^^^KKH\\F\\NORD&1.2.3&ISO"
    assert [str(name) for name in pid[5]] == [
        "Yamada^Tarou^M^III^Dr^^^A",
        "山田^太郎^^^^^^I",
        "やまだ^たろう^^^^^^P",
    ]
    assert (str(pid[7]), str(pid[8])) == ("19500102", "M")


def test_a_patient_of_whom_nothing_is_known_is_left_empty() -> None:
    source = Dataset()
    source.StudyInstanceUID = STUDY_UID
    source.PatientBirthDate, source.PatientSex, source.StudyDate = "unknown", "?", ""
    parsed = oru(bleeding(), source=source)
    assert str(parsed.segment("PID")) == "PID|1"
    assert str(parsed.segment("ORC")) == "ORC|RE"
    assert value(parsed, "OBR", 7) == value(parsed, "OBR", 18) == ""


def test_the_order_is_named_by_its_numbers() -> None:
    parsed = oru(bleeding())
    assert [value(parsed, "OBR", n) for n in (2, 3, 18)] == ["", "A-1234", "A-1234"]
    assert str(parsed.segment("OBR")[4]) == "303653007^CT of head^SCT"
    source = image_header()
    source.PlacerOrderNumberImagingServiceRequest, source.FillerOrderNumberImagingServiceRequest = "PL1", "FI1"
    parsed = oru(bleeding(), source=source)
    for name in ("ORC", "OBR"):
        assert [value(parsed, name, n) for n in (2, 3)] == ["PL1", "FI1"]
    assert value(parsed, "OBR", 18) == "A-1234"


@pytest.mark.parametrize("finding", [bleeding(), healthy()], ids=["bleeding", "healthy"])
def test_every_kind_has_its_presence_and_its_probability(finding: Finding) -> None:
    parsed = oru(finding)
    probabilities = {sub_id: float(value) for sub_id, value, _ in observations(parsed, "122157")}
    assert len(probabilities) == len(CLASSES)
    for found in finding.classes:
        ((sub_id, presence, flag),) = observations(parsed, FINDING_TYPE[found.name].value)
        assert presence == PRESENCE_VALUE[found.presence].value
        assert flag == ("A" if found.presence == "present" else "")
        assert probabilities[sub_id] == pytest.approx(100 * found.probability, abs=1e-4)
    ((_, triage, flag),) = observations(parsed, "triage")
    assert (triage, flag) == (str(finding.triage), "A" if finding.triage == "urgent" else "")


def test_study_and_model_are_named_to_the_bit() -> None:
    parsed = oru(bleeding())
    assert observations(parsed, "113014") == [["", STUDY_UID, ""]]
    assert observations(parsed, "111001") == [["", MODEL.name, ""]]
    assert observations(parsed, "111003") == [["", MODEL.version, ""]]
    parameters = [said for _, said, _ in observations(parsed, "111002")]
    assert f"weights_sha256={MODEL.weights_sha256}" in parameters
    assert "demonstration=yes" in parameters


def test_a_reader_is_told_first_what_it_is_not() -> None:
    finding = bleeding()
    noted = replace(finding, prediction=replace(finding.prediction, notes=(Note(remark=Remark.MOTION, detail="3"),)))
    skipped = SkippedSeries(series_instance_uid="2.25.5", reason=Reason.LOCALIZER, detail="")
    notes = [str(n[3]) for n in oru(noted, context=replace(CONTEXT, skipped=[skipped])).segments("NTE")]
    assert notes[0] == NOT_A_DIAGNOSIS
    assert MODEL.statement in notes[1]
    assert "Input: the patient moved: 3." in notes
    assert notes[-1] == "Series of the study that were not read: 1."


def test_a_result_is_preliminary_and_one_that_follows_another_corrects_it() -> None:
    for context, status in ((CONTEXT, "P"), (replace(CONTEXT, revision=2), "P"), (REVISED, "C")):
        parsed = oru(bleeding(), context=context)
        assert value(parsed, "OBR", 25) == status
        assert {str(obx[11]) for obx in parsed.segments("OBX")} == {status}


def test_the_same_result_is_the_same_message() -> None:
    first = build_oru(bleeding(), [image_header()], CONTEXT, RIS)
    assert first == build_oru(bleeding(), [image_header()], CONTEXT, RIS)
    assert first != build_oru(bleeding(), [image_header()], CONTEXT, replace(RIS, destination="other"))
    ids = {
        control_id(Edition(study_instance_uid=study, revision=revision), kind, destination)
        for study in ("1.2", "1.3")
        for revision in (1, 2)
        for kind in (ObjectKind.RESULT, ObjectKind.PRIORITY)
        for destination in ("a", "b")
    }
    assert len(ids) == 16
    assert {len(each) for each in ids} == {20}
    assert value(parse(first), "MSH", 10) in {value(oru(bleeding()), "MSH", 10)}


def test_an_urgent_study_is_to_be_read_first() -> None:
    content = build_priority(bleeding(), [image_header()], CONTEXT, RIS)
    assert content is not None
    parsed = parse(content)
    assert str(parsed.segment("MSH")[9]) == "ORM^O01^ORM_O01"
    assert [value(parsed, "ORC", n) for n in (1, 3)] == ["XO", "A-1234"]
    assert value(parsed, "ORC", 7, 6) == value(parsed, "OBR", 27, 6) == "S"
    assert (value(parsed, "OBR", 18), value(parsed, "ZDS", 1)) == ("A-1234", STUDY_UID)
    assert observations(parsed, "113014") == [["", STUDY_UID, ""]]
    assert NOT_A_DIAGNOSIS in str(parsed.segment("NTE")[3])


def test_other_studies_keep_their_place() -> None:
    assert build_priority(healthy(), [image_header()], CONTEXT, RIS) is None


def test_a_study_that_was_not_read_says_why_and_finds_nothing() -> None:
    unread = Unread(study_instance_uid=STUDY_UID, reason=Reason.NO_READABLE_SERIES, detail="2 series")
    content = build_unread_oru(unread, [image_header()], CONTEXT, RIS)
    parsed = parse(content)
    study, analysis, why = parsed.segments("OBX")
    assert str(study[5]) == STUDY_UID
    assert (first(analysis[5]), str(analysis[11])) == ("not_analysed", "X")
    assert (first(why[5]), str(why[11])) == ("no_readable_series", "X")
    assert value(parsed, "OBR", 25) == "P"
    assert "(2 series)." in str(parsed.segments("NTE")[1][3])
    assert "1386000" not in content.decode()


def test_a_study_without_an_image_has_no_message() -> None:
    with pytest.raises(Permanent) as error:
        build_oru(bleeding(), [], CONTEXT, RIS)
    assert error.value.reason is Reason.REPORT_INVALID


@given(st.lists(st.text(), min_size=1, max_size=6))
def test_any_text_comes_back_as_it_was(values: list[str]) -> None:
    """But for line breaks, which are all written the same way, and halves of characters."""
    content = message(
        [
            header({3: text("ICHD"), 9: components("ORU", "R01")}),
            segment("NTE", {1: text("1"), **{n: text(v) for n, v in enumerate(values, 3)}}),
            segment("OBX", {1: text("1"), 5: components(*values)}),
            # The parser strips white space at the end of a message.
            segment("ZZZ", {1: text("end")}),
        ]
    )
    assert not set(content) & {0x0B, 0x1C}, "frame of MLLP"
    assert content.count(b"\r") == 4
    parsed = parse(content)
    assert len(parsed) == 4
    expected = [v.replace("\r\n", "\r").replace("\n", "\r").encode("utf-8", "replace").decode() for v in values]
    note = parsed.segment("NTE")
    found = [parsed.unescape(str(note[n])) if n < len(note) else "" for n in range(3, 3 + len(values))]
    assert found == expected
    obx = parsed.segment("OBX")
    parts = [parsed.unescape(part) for part in str(obx[5]).split("^")] if len(obx) > 5 else []
    assert [*parts, *[""] * (len(values) - len(parts))][: len(values)] == expected


def test_names_of_hostile_images_end_no_segment() -> None:
    source = image_header()
    source.PatientName, source.AccessionNumber = "A|B~C\\^D&E", "1\rOBX|9"
    parsed = oru(bleeding(), source=source)
    assert parsed.unescape(value(parsed, "PID", 5)) in {"A|B~C\\", "A|B~C"}
    assert len(parsed.segments("PID")) == 1
    assert [str(s[0]) for s in parsed].count("OBX") == len(oru(bleeding()).segments("OBX"))


def test_the_moment_of_its_making_is_all_of_the_clock_that_is_in_it() -> None:
    later = replace(CONTEXT, created_at=CREATED_AT + timedelta(hours=1))
    first, second = (build_oru(bleeding(), [image_header()], c, RIS).decode() for c in (CONTEXT, later))
    assert value(parse(first.encode()), "MSH", 10) == value(parse(second.encode()), "MSH", 10)
