"""Requests for storage commitment: what is answered to them, and what is filed."""

from dataclasses import replace
from typing import Any

import pytest
from pydicom import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from ichd.domain.arrival import CommitmentState
from ichd.domain.reason import Reason
from ichd.intake.commitment import MOST_REFERENCES
from ichd.intake.service import Answer, Operation, Status
from ichd.store.tables import RefusalRow
from tests.intake.commitment.conftest import BRISK, EXPLICIT, House, encoded, item, question, until
from tests.peers.commitment_scu import CommitmentScu


def test_the_same_request_again_is_answered_once(house: House, scu: CommitmentScu) -> None:
    uids = house.store(1, 2)
    for _ in range(3):
        assert house.ask(question(*map(item, uids))).status is Status.SUCCESS
    assert len(house.rows()) == 1
    house.report()
    scu.wait_for()
    until(lambda: house.row().state is CommitmentState.REPORTED)
    assert len(scu.reports) == 1
    assert house.ask(question(item(uids[0]))).status is Status.DUPLICATE_TRANSACTION_UID


def test_an_ae_without_an_address_is_told_and_shown(house: House) -> None:
    with capture_logs() as logs:
        answers = [house.ask(question(item("1.2.3")), caller="CT9") for _ in range(3)]
    assert set(answers) == {Answer(status=Status.NOT_AUTHORIZED, comment="no [[source]] has this AE title")}
    assert [entry["event"] for entry in logs] == ["request_refused"] * 3
    assert house.rows() == []
    with Session(house.engine) as session:
        (refusal,) = session.scalars(select(RefusalRow))
    assert (refusal.reason, refusal.calling_ae_title) == (Reason.SOURCE_UNKNOWN, "CT9")


def without(keyword: str) -> Dataset:
    information = question(item("1.2.3"))
    delattr(information, keyword)
    return information


@pytest.mark.parametrize(
    ("information", "changes", "status"),
    [
        (question(item("1.2.3")), {"type_id": 2}, Status.NO_SUCH_ACTION),
        (question(item("1.2.3")), {"sop_instance_uid": "1.2.3"}, Status.NO_SUCH_SOP_INSTANCE),
        (question(item("1.2.3")), {"operation": Operation.N_SET}, Status.UNRECOGNISED_OPERATION),
        (question(item("1.2.3")), {"transfer_syntax_uid": "1.2.3"}, Status.INVALID_ARGUMENT_VALUE),
        (without("TransactionUID"), {}, Status.MISSING_ATTRIBUTE),
        (without("ReferencedSOPSequence"), {}, Status.MISSING_ATTRIBUTE),
        (question(), {}, Status.MISSING_ATTRIBUTE),
        (question(Dataset()), {}, Status.INVALID_ARGUMENT_VALUE),
        (question(*[item("1.2.3")] * (MOST_REFERENCES + 1)), {}, Status.RESOURCE_LIMITATION),
        (b"", {}, Status.INVALID_ARGUMENT_VALUE),
        (b"\xff" * 64, {}, Status.INVALID_ARGUMENT_VALUE),
        (encoded(question(item("1.2.3")), EXPLICIT)[:-3], {}, Status.INVALID_ARGUMENT_VALUE),
    ],
)
def test_a_request_that_makes_no_sense_is_answered_and_not_filed(
    house: House, information: Dataset | bytes, changes: dict[str, Any], status: Status
) -> None:
    answer = house.ask(information, **changes)
    assert answer.status is status
    assert len(answer.comment) <= 64
    assert house.rows() == []


def test_every_cut_and_every_flipped_byte_of_a_request_is_answered(house: House) -> None:
    content = encoded(question(item("1.2.3.4"), item("1.2.3.5")), EXPLICIT)
    for end in range(len(content)):
        assert isinstance(house.ask(content[:end]), Answer)
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 0xFF
        assert isinstance(house.ask(bytes(flipped)), Answer)
    assert len(house.rows()) < len(content)


def test_no_database_no_yes(house: House) -> None:
    house.engine.dispose()
    (house.spool.root.parent / "ichd.db").write_bytes(b"not a database" * 100)
    answer = house.ask(question(item("1.2.3")))
    assert answer == Answer(status=Status.RESOURCE_LIMITATION, comment="store_unavailable")


def test_five_thousand_images_fit_into_one_report(house: House, scu: CommitmentScu) -> None:
    house.report(policy=replace(BRISK, grace_s=0.0))
    asked = [item(f"1.2.840.113619.2.55.3.604688119.{n}") for n in range(5000)]
    assert house.ask(question(*asked)).status is Status.SUCCESS
    (report,) = scu.wait_for()
    assert len(report.failed) == 5000
