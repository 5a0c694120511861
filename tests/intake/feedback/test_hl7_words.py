"""What an HL7 message says, by the site's own words, and what it does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.errors import Refused
from ichd.domain.review import Agreement
from ichd.intake.feedback.hl7_words import Vocabulary, Word, read_message, words_of

OURS = Vocabulary(observation="ICH-AI", agreed=("AGREED", "A"), disagreed=("DISAGREED", "D"))
UID = "1.2.840.113619.2.1"
MSH = "MSH|^~\\&|RIS|CITY|ICHD||20260301120000||ORU^R01^ORU_R01|M1|P|2.5.1"
OBR = "OBR|1|PL9^RIS|FI8|303653007^CT of head^SCT" + "|" * 14 + "A-17"
STUDY = f"OBX|1|ST|113014^DICOM Study^DCM||{UID}||||||F"


def obx(value: str, *, code: str = "ICH-AI", status: str = "F", kind: str = "CWE") -> str:
    return f"OBX|2|{kind}|{code}^AI^99CITY||{value}||||||{status}"


def words(*segments: str, end: str = "\r") -> list[Word]:
    return words_of(read_message(end.join((MSH, *segments)).encode()), OURS)


def only(*segments: str) -> Word:
    (word,) = words(*segments)
    return word


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("AGREED", Agreement.AGREED),
        ("a^Agreed with AI^99CITY", Agreement.AGREED),
        (" Disagreed ", Agreement.DISAGREED),
        ("D~D", Agreement.DISAGREED),
        ("MAYBE", None),
        ("", None),
        ("A~D", None),
        ("1^A", None),
    ],
)
def test_the_value_says_whether_a_reader_agrees(value: str, meant: Agreement | None) -> None:
    assert only(OBR, STUDY, obx(value)).agreement is meant


def test_a_result_without_the_sites_observation_says_nothing() -> None:
    assert words(OBR, STUDY, obx("A", code="GDT")) == []
    assert words() == []


@pytest.mark.parametrize("status", ["D", "W", "X"])
def test_a_word_that_is_withdrawn_is_none(status: str) -> None:
    assert only(OBR, STUDY, obx("A", status=status)).agreement is None


@pytest.mark.parametrize(
    "named",
    [
        STUDY,
        f"OBX|1|HD|113014^DICOM Study^DCM||^{UID}^ISO||||||F",
        f"ZDS|{UID}^RIS^Application^DICOM",
    ],
)
def test_the_study_is_named_by_its_uid(named: str) -> None:
    assert only(OBR, obx("A"), named).study_uid == UID


def test_what_is_no_uid_names_no_study() -> None:
    assert only(OBR, obx("A"), "ZDS|../../etc^RIS").study_uid is None
    assert only(OBR, obx("A"), "OBX|1|ST|113014^DICOM Study^DCM||4711||||||F").study_uid is None


def test_else_by_its_numbers_the_likeliest_first() -> None:
    assert only(OBR, obx("A")).numbers == ("A-17", "FI8", "PL9")
    assert only(obx("A")).numbers == ()
    assert only("OBR|1||" + "7" * 65, obx("A")).numbers == ()


def test_each_order_speaks_of_its_own_study() -> None:
    first, second = words(
        OBR, STUDY, obx("A"), "OBR|2||FI9", obx("D"), STUDY.replace(UID, "1.2.3.4"), "OBR|3||FI10", obx("B", code="GDT")
    )
    assert (first.agreement, first.study_uid) == (Agreement.AGREED, UID)
    assert (second.agreement, second.study_uid, second.numbers) == (Agreement.DISAGREED, "1.2.3.4", ("FI9",))


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_segments_may_end_as_some_senders_end_them(end: str) -> None:
    assert len(words(OBR, STUDY, obx("A"), end=end)) == 1


def test_delimiters_are_those_of_the_message_and_escapes_are_undone() -> None:
    content = "MSH#*!?%#RIS#######ORU*R01#M1\rOBR#1##A?F?17\rOBX#1#ST#ICH?E?AI##A"
    odd = Vocabulary(observation="ICH?AI", agreed=("A",), disagreed=("D",))
    (word,) = words_of(read_message(content.encode()), odd)
    assert (word.agreement, word.numbers) == (Agreement.AGREED, ("A#17",))


def test_a_word_may_be_of_any_letters() -> None:
    german = Vocabulary(observation="KI-BLUTUNG", agreed=("Übereinstimmung",), disagreed=("Widerspruch",))
    segment = obx("ÜBEREINSTIMMUNG", code="KI-BLUTUNG")
    for encoding in ("utf-8", "latin-1"):
        (word,) = words_of(read_message(f"{MSH}\r{segment}".encode(encoding)), german)
        assert word.agreement is Agreement.AGREED


@pytest.mark.parametrize(
    "content", [b"", b"\r\r", b"PID|1", b"MSH", b"MSH|^~\\&", b"MSH|^^^^|RIS", b"MSH aaaa ", b"\xff\xfe"]
)
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(Refused):
        read_message(content)


pieces = st.lists(st.sampled_from([*"|^~\\&\rAD", "MSH|^~\\&|", "OBR|", "OBX|1|ST|ICH-AI||", "ZDS|1.2", "\n", "é"]))


@given(st.one_of(st.binary(max_size=400), pieces.map(lambda p: ("MSH|^~\\&|" + "".join(p)).encode())))
def test_any_bytes_are_a_message_or_refused(content: bytes) -> None:
    try:
        message = read_message(content)
    except Refused:
        return
    for word in words_of(message, OURS):
        assert word.agreement is None or isinstance(word.agreement, Agreement)
    assert len(message.control_id) <= 180
