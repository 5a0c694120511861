"""Key objects at the STOW-RS door: heard like at the other one, beside images."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset

from ichd.domain.reason import Reason
from ichd.domain.review import Agreement
from ichd.intake.feedback.key_objects import LONGEST_KEY_OBJECT
from ichd.intake.part10 import file_meta
from ichd.store.reviews import Reviews
from ichd.store.tables import RefusalRow
from tests.intake.feedback.reported import OF_INTEREST, file_of, key_object, report_a_study
from tests.intake.images import EXPLICIT
from tests.intake.stowing import StowHouse, file, stow_house
from tests.intake.test_stow import FAILED, REFERENCED, RETRIEVE_URL, items, post, reasons
from tests.report.findings import STUDY_UID


@pytest.fixture
def house(tmp_path: Path) -> Iterator[StowHouse]:
    with stow_house(tmp_path) as opened:
        yield opened


@pytest.fixture
def report(house: StowHouse) -> Dataset:
    return report_a_study(house.engine, house.spool)


def test_a_rejected_report_is_disagreed_with_by_the_account(house: StowHouse, report: Dataset) -> None:
    before = house.files()
    word = key_object([report])
    answer = post(house, file_of(word))
    assert answer.status_code == 200
    (given,) = Reviews(house.engine).of_study(STUDY_UID)
    assert (given.review.agreement, given.review.reviewer) == (Agreement.DISAGREED, "clinic")
    assert house.files() == before
    (item,) = items(answer, REFERENCED)
    assert item["00081155"]["Value"] == [word.SOPInstanceUID]
    assert "Value" not in item[RETRIEVE_URL], "it is not kept as an object"


def test_one_request_may_bring_a_word_and_images(house: StowHouse, report: Dataset) -> None:
    answer = post(house, file(1), file_of(key_object([report])), file(2))
    assert answer.status_code == 200
    assert len(items(answer, REFERENCED)) == 3
    assert len(Reviews(house.engine).of_study(STUDY_UID)) == 1


def test_what_is_no_word_is_a_failure_with_a_reason(house: StowHouse, report: Dataset) -> None:
    meta = file_meta(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.59", sop_instance_uid="1.2.3", transfer_syntax_uid=EXPLICIT
    )
    large = meta + bytes(3 * LONGEST_KEY_OBJECT)
    answer = post(house, file_of(key_object([report], OF_INTEREST)), large)
    assert answer.status_code == 409
    assert reasons(answer, FAILED) == [0xA900, 0xA900]
    assert [row.reason for row in house.rows(RefusalRow)] == [Reason.NO_REVIEW] * 2
    assert Reviews(house.engine).of_study(STUDY_UID) == ()


def test_a_word_in_another_studys_address_is_refused(house: StowHouse, report: Dataset) -> None:
    word = file_of(key_object([report]))
    assert post(house, word, path="/studies/1.2.3").status_code == 409
    assert post(house, word, path=f"/studies/{STUDY_UID}").status_code == 200
