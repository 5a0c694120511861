"""Key objects at the DIMSE door: a rejected report is a word on its finding, everything else is refused aloud."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from highdicom.sr import CodedConcept
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian, generate_uid
from sqlalchemy import Engine

from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.domain.review import Agreement, ReviewSource
from ichd.intake.claim import Claim, Sender
from ichd.intake.feedback.key_objects import KEY_OBJECT_SELECTION, LONGEST_KEY_OBJECT, KeyObjects
from ichd.intake.service import Service
from ichd.store.arrivals import Arrivals
from ichd.store.engine import migrate, open_database
from ichd.store.reviews import GivenReview, Reviews
from ichd.store.tables import AssociationRow, InstanceRow, RefusalRow, StudyRow
from tests.intake.conftest import House, OpenHouse, now
from tests.intake.feedback.reported import OF_INTEREST, an_image, file_of, key_object, report_a_study
from tests.intake.images import EXPLICIT, encode, image
from tests.intake.senders import SUCCESS, Answer
from tests.report.findings import STUDY_UID

STORESCU = shutil.which("storescu")


def takers(engine: Engine) -> dict[str, Service]:
    return {KEY_OBJECT_SELECTION: KeyObjects(Reviews(engine), Arrivals(engine)).accept}


@pytest.fixture
def house(open_house: OpenHouse) -> House:
    return open_house(objects=takers)


@pytest.fixture
def report(house: House) -> Dataset:
    return report_a_study(house.engine, house.spool)


def send(house: House, content: Dataset | bytes, *, uid: str = "", caller: str = "VIEWER1") -> Answer:
    dataset = content if isinstance(content, bytes) else encode(content)
    uid = uid or (generate_uid() if isinstance(content, bytes) else content.SOPInstanceUID)
    with house.sender(calling_ae_title=caller, sop_classes=(KEY_OBJECT_SELECTION,)) as sender:
        return sender.store(dataset, uid, sop_class_uid=KEY_OBJECT_SELECTION)


def reviews(house: House) -> tuple[GivenReview, ...]:
    return Reviews(house.engine).of_study(STUDY_UID)


@pytest.mark.skipif(STORESCU is None, reason="storescu is not installed (Debian: dcmtk)")
def test_a_report_that_a_viewer_rejects_is_disagreed_with(house: House, report: Dataset, tmp_path: Path) -> None:
    word = key_object([report])
    path = tmp_path / "ko.dcm"
    path.write_bytes(file_of(word))
    # Twice: who did not hear the first yes sends it again.
    for _ in range(2):
        sent = subprocess.run(
            [str(STORESCU), "-aet", "VIEWER1", "-aec", "ICHD", "127.0.0.1", str(house.port), str(path)],
            env=os.environ | {"TCP_NODELAY": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert sent.returncode == 0, sent.stderr
    (given,) = reviews(house)
    assert (given.revision, given.review.agreement) == (1, Agreement.DISAGREED)
    assert (given.review.source, given.review.reviewer) == (ReviewSource.KEY_OBJECT, "VIEWER1")
    assert given.review.key == word.SOPInstanceUID
    assert house.rows(RefusalRow) == []


def test_it_is_no_image(house: House, report: Dataset) -> None:
    before = (house.files(), house.count(InstanceRow), house.count(StudyRow), house.count(AssociationRow))
    assert send(house, key_object([report])).status == SUCCESS
    assert (house.files(), house.count(InstanceRow), house.count(StudyRow), house.count(AssociationRow)) == before


def test_implicit_vr_is_read_too(house: House, report: Dataset) -> None:
    word = key_object([report])
    syntax = str(ImplicitVRLittleEndian)
    with house.sender(sop_classes=(KEY_OBJECT_SELECTION,), transfer_syntax_uid=syntax) as sender:
        answer = sender.store(encode(word, syntax), word.SOPInstanceUID, sop_class_uid=KEY_OBJECT_SELECTION)
    assert answer.status == SUCCESS
    assert len(reviews(house)) == 1


@pytest.mark.parametrize(
    ("title", "said"),
    [
        (OF_INTEREST, "113000 DCM"),
        (CodedConcept("113037", "DCM", "Rejected for Patient Safety Reasons"), "113037 DCM"),
        (CodedConcept("113001", "99OTHER", "Something"), "another"),
        (CodedConcept("Doe^Jane", "DCM", "Jane"), "another"),
    ],
)
def test_other_titles_are_no_words_on_a_finding(house: House, report: Dataset, title: CodedConcept, said: str) -> None:
    word = key_object([report])
    word.ConceptNameCodeSequence = [title]
    answer = send(house, word)
    assert (answer.status, answer.comment) == (0xA900, f"no_review: the key object's title is {said}")
    assert reviews(house) == ()
    (refusal,) = house.rows(RefusalRow)
    assert (refusal.reason, refusal.calling_ae_title) == (Reason.NO_REVIEW, "VIEWER1")
    assert (refusal.sop_class_uid, refusal.sop_instance_uid) == (KEY_OBJECT_SELECTION, word.SOPInstanceUID)
    assert refusal.study_instance_uid is None, "it would be evidence that the study misses an image"


def test_rejected_images_are_no_words_on_a_finding(house: House, report: Dataset) -> None:
    answer = send(house, key_object([an_image()]))
    assert (answer.status, answer.comment[:14]) == (0xA900, "review_unknown")
    assert [row.reason for row in house.rows(RefusalRow)] == [Reason.REVIEW_UNKNOWN]
    assert reviews(house) == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"SOPInstanceUID": "1.2.3"}, Reason.UID_MISMATCH),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"}, Reason.UID_MISMATCH),
        ({"SOPInstanceUID": "../../evil"}, Reason.BAD_UID),
        ({"ConceptNameCodeSequence": []}, Reason.NO_REVIEW),
        ({"ContentSequence": [], "CurrentRequestedProcedureEvidenceSequence": []}, Reason.REVIEW_UNKNOWN),
    ],
)
@pytest.mark.filterwarnings("ignore:.*Invalid value for VR UI")
def test_what_is_wrong_with_it_is_said(
    house: House, report: Dataset, change: dict[str, object], reason: Reason
) -> None:
    word = key_object([report])
    claimed = str(word.SOPInstanceUID)
    for keyword, value in change.items():
        setattr(word, keyword, value)
    answer = send(house, encode(word), uid=claimed)
    assert (answer.comment.partition(":")[0], reviews(house)) == (str(reason), ())
    assert [row.reason for row in house.rows(RefusalRow)] == [reason]


def test_what_can_not_be_read_is_refused_and_the_association_goes_on(house: House, report: Dataset) -> None:
    word = key_object([report])
    whole = encode(word)
    with house.sender(sop_classes=(KEY_OBJECT_SELECTION,)) as sender:
        for content in (b"\x08", whole[:-3], b"\x00" * 64, whole + b"\x08"):
            answer = sender.store(content, word.SOPInstanceUID, sop_class_uid=KEY_OBJECT_SELECTION)
            assert answer.status in (0xC000, 0xC001)
        assert sender.store(whole, word.SOPInstanceUID, sop_class_uid=KEY_OBJECT_SELECTION).status == SUCCESS


@pytest.mark.parametrize("size", [LONGEST_KEY_OBJECT + 1, 4 << 20])
def test_a_large_one_is_none(house: House, report: Dataset, size: int) -> None:
    answer = send(house, bytes(size))
    assert (answer.status, answer.comment.partition(":")[0]) == (0xA900, "no_review")


def test_it_is_as_good_with_images_in_one_association(house: House, report: Dataset) -> None:
    word = key_object([report])
    with house.sender(sop_classes=(KEY_OBJECT_SELECTION, "1.2.840.10008.5.1.4.1.1.2")) as sender:
        assert sender.store(encode(word), word.SOPInstanceUID, sop_class_uid=KEY_OBJECT_SELECTION).status == SUCCESS
    with house.sender() as sender:
        assert sender.store(encode(image(7)), image(7).SOPInstanceUID).status == SUCCESS
    assert len(reviews(house)) == 1


def test_a_listener_without_readers_does_not_negotiate_it(open_house: OpenHouse) -> None:
    house = open_house()
    sop_classes = ("1.2.840.10008.5.1.4.1.1.2", KEY_OBJECT_SELECTION)
    with house.sender(sop_classes=sop_classes) as sender:
        assert [c.abstract_syntax for c in sender.association.accepted_contexts] == [sop_classes[0]]


@pytest.fixture(scope="module")
def taker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyObjects]:
    url = f"sqlite:///{tmp_path_factory.mktemp('words') / 'ichd.db'}"
    migrate(url)
    engine = open_database(url)
    yield KeyObjects(Reviews(engine), Arrivals(engine))
    engine.dispose()


@given(data=st.data())
def test_any_bytes_are_refused_with_a_reason(taker: KeyObjects, data: st.DataObject) -> None:
    """A whole one with pieces changed, moved or missing; none of it names a finding here."""
    whole = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=8))
    claim = Claim(sop_class_uid=KEY_OBJECT_SELECTION, sop_instance_uid="1.2.3", transfer_syntax_uid=EXPLICIT)
    with pytest.raises(Refused):
        taker.take(bytes(whole), claim, Sender(calling_ae_title="A", address="192.0.2.1"), now=now())


WHOLE = encode(key_object([an_image()]))
