"""Storage commitment: what is promised is true, the answer arrives, and nobody is answered twice."""

import time
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from ichd.domain.arrival import CommitmentState
from ichd.domain.job import RetryPolicy
from ichd.domain.reason import Reason
from ichd.domain.study import CT_IMAGE_STORAGE
from ichd.intake.service import Answer, Status
from ichd.store.spool import Spool
from ichd.store.tables import InstanceRow
from ichd.store.transaction import writing
from tests.intake.commitment.conftest import (
    BIG_ENDIAN,
    BRISK,
    EXPLICIT,
    IMPLICIT,
    TRANSACTION,
    House,
    item,
    now,
    question,
    source_at,
    until,
)
from tests.peers.commitment_scu import CommitmentScu, running_commitment_scu
from tests.peers.ports import free_port
from tests.store.house import image


@pytest.mark.parametrize("transfer_syntax_uid", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_stored_images_are_committed(house: House, scu: CommitmentScu, transfer_syntax_uid: str) -> None:
    house.report()
    uids = house.store(1, 2, 3)
    answer = house.ask(question(*map(item, uids)), transfer_syntax_uid=transfer_syntax_uid)
    assert answer == Answer(status=Status.SUCCESS)
    (report,) = scu.wait_for()
    assert (report.event_type, report.transaction_uid, report.failed) == (1, TRANSACTION, [])
    assert report.committed == [(CT_IMAGE_STORAGE, uid) for uid in uids]
    until(lambda: house.row().state is CommitmentState.REPORTED)
    assert (house.row().reason, house.row().finished_at is not None) == (None, True)


def test_each_image_that_is_not_safe_is_named_with_its_reason(house: House, scu: CommitmentScu) -> None:
    whole, flipped, cut, gone, other = house.store(1, 2, 3, 4, 5)
    content = bytearray(house.file_of(flipped).read_bytes())
    content[len(content) // 2] ^= 1
    house.file_of(flipped).write_bytes(content)
    house.file_of(cut).write_bytes(house.file_of(cut).read_bytes()[:-1])
    house.file_of(gone).unlink()
    house.report()
    asked = [item(whole), item(flipped), item(cut), item(gone), item(other, "1.2.3"), item("1.2.3.4")]
    assert house.ask(question(*asked)).status is Status.SUCCESS
    (report,) = scu.wait_for()
    assert report.event_type == 2
    assert report.committed == [(CT_IMAGE_STORAGE, whole)]
    assert report.failed == [
        (CT_IMAGE_STORAGE, flipped, 0x0110),
        (CT_IMAGE_STORAGE, cut, 0x0110),
        (CT_IMAGE_STORAGE, gone, 0x0110),
        ("1.2.3", other, 0x0119),
        (CT_IMAGE_STORAGE, "1.2.3.4", 0x0112),
    ]


def test_an_image_of_which_two_versions_came_is_committed_only_with_both(house: House, scu: CommitmentScu) -> None:
    (uid,) = house.store(1)
    house.store(1, content=b"other bytes under the same UID")
    house.report()
    house.ask(question(item(uid)))
    assert scu.wait_for(1)[0].event_type == 1
    (second,) = [path for path in house.spool.root.rglob("*.dcm") if path != house.file_of(uid)]
    second.unlink()
    house.ask(question(item(uid), transaction_uid="1.2.840.99.2"))
    assert scu.wait_for(2)[1].failed == [(CT_IMAGE_STORAGE, uid, 0x0110)]


def test_an_image_that_comes_a_little_later_is_waited_for(house: House, scu: CommitmentScu) -> None:
    house.report(policy=replace(BRISK, grace_s=60.0))
    uid = image(1).sop_instance_uid
    house.ask(question(item(uid)))
    until(lambda: house.row().run_at > house.row().requested_at)
    assert scu.reports == []
    house.store(1)
    (report,) = scu.wait_for()
    assert (report.event_type, house.row().attempts) == (1, 0)


def test_a_peer_that_is_away_is_told_when_it_is_back(house: House) -> None:
    port = free_port()
    house.sources["CT1"] = source_at(port)
    house.report()
    uids = house.store(1)
    house.ask(question(*map(item, uids)))
    until(lambda: house.row().attempts >= 2)
    assert (house.row().state, house.row().reason) == (CommitmentState.PENDING, Reason.SOURCE_UNREACHABLE)
    with running_commitment_scu(port=port) as back:
        (report,) = back.wait_for()
        assert report.event_type == 1
        until(lambda: house.row().state is CommitmentState.REPORTED)


def test_a_peer_that_stays_away_is_given_up_and_logged(house: House) -> None:
    house.sources["CT1"] = source_at(free_port())
    uids = house.store(1)
    with capture_logs() as logs:
        house.report(policy=replace(BRISK, retry=RetryPolicy(first_s=0.01, ceiling_s=0.01, max_attempts=3)))
        house.ask(question(*map(item, uids)))
        until(lambda: house.row().state is CommitmentState.FAILED)
        until(lambda: any(entry["event"] == "commitment_given_up" for entry in logs))
    until(lambda: house.arrivals.refusals() != [])
    (shown,) = house.arrivals.refusals()
    assert (shown.reason, shown.calling_ae_title) == (Reason.SOURCE_UNREACHABLE, "CT1")
    assert shown.detail.startswith("storage commitment given up: ")
    row = house.row()
    assert (row.attempts, row.reason, row.finished_at is not None) == (3, Reason.SOURCE_UNREACHABLE, True)


def test_a_defect_counts_as_an_attempt_and_does_not_keep_others_waiting(house: House, scu: CommitmentScu) -> None:
    odd, fine = house.store(1, 2)
    with writing(house.engine) as session:
        # No file can have this name: whoever looks for it meets a ValueError.
        session.execute(update(InstanceRow).where(InstanceRow.sop_instance_uid == odd).values(path="\0"))
    house.report(policy=replace(BRISK, retry=RetryPolicy(first_s=0.01, ceiling_s=0.01, max_attempts=3)))
    house.ask(question(item(odd)))
    house.ask(question(item(fine), transaction_uid="1.2.840.78"))
    (report,) = scu.wait_for()
    assert report.committed == [(CT_IMAGE_STORAGE, fine)]
    until(lambda: [row.state for row in house.rows()] == [CommitmentState.FAILED, CommitmentState.REPORTED])
    given_up, _ = house.rows()
    assert (given_up.attempts, given_up.reason, given_up.detail) == (3, Reason.INTERNAL_ERROR, "ValueError")


def test_a_peer_that_refuses_the_report_is_told_again(house: House) -> None:
    answers = iter([0x0110, 0x0110, 0x0000])
    uids = house.store(1)
    with running_commitment_scu(answer=lambda: next(answers)) as strict:
        house.sources["CT1"] = source_at(strict.port)
        house.report()
        house.ask(question(*map(item, uids)))
        until(lambda: house.row().state is CommitmentState.REPORTED)
        assert len(strict.reports) == 3
        assert house.row().attempts == 2


def test_a_peer_that_is_silent_about_roles_is_told_all_the_same(house: House) -> None:
    uids = house.store(1)
    with running_commitment_scu(grants_role=False) as old:
        house.sources["CT1"] = source_at(old.port)
        house.report()
        house.ask(question(*map(item, uids)))
        assert old.wait_for()[0].event_type == 1


def test_a_peer_with_another_name_is_a_rejection_that_may_be_mended(house: House) -> None:
    uids = house.store(1)
    with running_commitment_scu(requires_own_name=True) as picky:
        house.sources["CT1"] = source_at(picky.port, "WRONG")
        house.report()
        house.ask(question(*map(item, uids)))
        until(lambda: house.row().reason is Reason.SOURCE_REJECTED)
        house.sources["CT1"] = source_at(picky.port)
        picky.wait_for()


def test_a_new_reporter_answers_what_the_old_one_left(house: House, scu: CommitmentScu) -> None:
    uids = house.store(1)
    port = house.sources["CT1"].port
    house.sources["CT1"] = source_at(free_port())
    first = house.report()
    house.ask(question(*map(item, uids)))
    until(lambda: house.row().attempts >= 1)
    first.stop()
    house.sources["CT1"] = source_at(port)
    house.report()
    assert scu.wait_for()[0].event_type == 1


def test_what_a_dead_reporter_held_is_answered_by_another(house: House, scu: CommitmentScu) -> None:
    uids = house.store(1)
    house.ask(question(*map(item, uids)))
    assert house.commitments.claim(lease_s=0.5, now=now()) is not None  # and then it died
    house.report()
    assert scu.wait_for()[0].event_type == 1


def test_several_reporters_answer_each_request_once(house: House, scu: CommitmentScu) -> None:
    uids = house.store(1, 2)
    for _ in range(3):
        house.report()
    for number in range(20):
        house.ask(question(*map(item, uids), transaction_uid=f"1.2.840.99.{number}"))
    scu.wait_for(20)
    until(lambda: all(row.state is CommitmentState.REPORTED for row in house.rows()))
    assert sorted({report.transaction_uid for report in scu.reports}) == sorted(
        report.transaction_uid for report in scu.reports
    )


def test_a_reporter_stops_while_it_reads_and_gives_the_request_back(house: House, scu: CommitmentScu) -> None:
    class Slow(Spool):
        def is_intact(self, stored: Any) -> bool:
            time.sleep(0.1)
            return super().is_intact(stored)

    uids = house.store(*range(1, 101))
    house.spool = Slow(house.spool.root)
    reporter = house.report(policy=replace(BRISK, lease_s=30.0))
    house.ask(question(*map(item, uids)))
    until(lambda: house.row().run_at > now())
    started = time.monotonic()
    reporter.stop()
    assert time.monotonic() - started < 3
    assert house.row().run_at <= now()
    assert scu.reports == []
