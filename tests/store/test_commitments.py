"""Requests for storage commitment: filed once, held by one, kept with their end."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ichd.domain.arrival import CommitmentState
from ichd.domain.errors import LeaseLost
from ichd.domain.reason import Reason
from ichd.domain.study import CT_IMAGE_STORAGE
from ichd.store.commitments import Commitment, Commitments, Filing, Reference
from ichd.store.tables import CommitmentRow
from tests.store.house import LEASE_S, NOON, House, image

TRANSACTION = "1.2.840.77"


def references(*numbers: int) -> list[Reference]:
    return [Reference(sop_class_uid=CT_IMAGE_STORAGE, sop_instance_uid=image(n).sop_instance_uid) for n in numbers]


def file(
    commitments: Commitments,
    *numbers: int,
    transaction_uid: str = TRANSACTION,
    caller: str = "CT1",
    most_pending: int = 100,
    after_s: float = 0.0,
) -> Filing:
    return commitments.file(
        transaction_uid=transaction_uid,
        calling_ae_title=caller,
        address="192.0.2.1",
        references=references(*(numbers or (1, 2))),
        most_pending=most_pending,
        now=NOON + timedelta(seconds=after_s),
    )


def claim(commitments: Commitments, *, after_s: float = 0.0) -> Commitment:
    commitment = commitments.claim(lease_s=LEASE_S, now=NOON + timedelta(seconds=after_s))
    assert commitment is not None
    return commitment


def rows(engine: Engine) -> list[CommitmentRow]:
    with Session(engine) as session:
        return list(session.scalars(select(CommitmentRow).order_by(CommitmentRow.id)))


@pytest.fixture
def commitments(engine: Engine) -> Commitments:
    return Commitments(engine)


def test_a_request_is_due_at_once_and_held_by_one(commitments: Commitments) -> None:
    assert commitments.next_due() is None
    assert file(commitments) is Filing.FILED
    assert commitments.next_due() == NOON
    commitment = claim(commitments)
    assert commitment.references == tuple(references(1, 2))
    assert (commitment.transaction_uid, commitment.calling_ae_title) == (TRANSACTION, "CT1")
    assert commitments.claim(lease_s=LEASE_S, now=NOON) is None


def test_a_holder_that_died_is_followed_by_another_one(commitments: Commitments) -> None:
    file(commitments)
    dead = claim(commitments)
    assert commitments.next_due() == NOON + timedelta(seconds=LEASE_S)
    again = claim(commitments, after_s=LEASE_S)
    assert again.id == dead.id
    for late in (
        lambda: commitments.reported(dead, now=NOON),
        lambda: commitments.extend(dead, lease_s=LEASE_S, now=NOON),
        lambda: commitments.wait(dead, until=NOON),
        lambda: commitments.give_up(dead, reason=Reason.SOURCE_REFUSED, detail="", now=NOON),
    ):
        with pytest.raises(LeaseLost):
            late()
    commitments.reported(again, now=NOON)


def test_an_extended_hold_is_not_taken_over(commitments: Commitments) -> None:
    file(commitments)
    held = commitments.extend(claim(commitments), lease_s=3 * LEASE_S, now=NOON)
    assert commitments.claim(lease_s=LEASE_S, now=NOON + timedelta(seconds=2 * LEASE_S)) is None
    commitments.reported(held, now=NOON)


def test_the_same_request_again_is_one_request(commitments: Commitments, engine: Engine) -> None:
    assert file(commitments) is Filing.FILED
    assert file(commitments, after_s=1) is Filing.KNOWN
    assert file(commitments, caller="CT2") is Filing.FILED, "transaction UIDs are each AE's own"
    assert [row.calling_ae_title for row in rows(engine)] == ["CT1", "CT2"]
    assert rows(engine)[0].run_at == NOON


def test_a_transaction_uid_is_not_used_for_other_images(commitments: Commitments, engine: Engine) -> None:
    file(commitments)
    assert file(commitments, 1, 2, 3) is Filing.TAKEN
    assert len(rows(engine)[0].instances) == 2


@pytest.mark.parametrize("end", [CommitmentState.REPORTED, CommitmentState.FAILED])
def test_who_asks_again_after_the_end_is_answered_again(
    commitments: Commitments, engine: Engine, end: CommitmentState
) -> None:
    file(commitments)
    if end is CommitmentState.REPORTED:
        commitments.reported(claim(commitments), now=NOON)
    else:
        commitments.give_up(claim(commitments), reason=Reason.SOURCE_UNREACHABLE, detail="away", now=NOON)
    assert rows(engine)[0].state is end
    assert commitments.next_due() is None
    assert file(commitments, after_s=60) is Filing.KNOWN
    again = claim(commitments, after_s=60)
    assert (again.attempts, again.requested_at) == (0, NOON + timedelta(seconds=60))
    (row,) = rows(engine)
    assert (row.reason, row.detail, row.finished_at) == (None, "", None)


def test_an_end_says_why(commitments: Commitments, engine: Engine) -> None:
    file(commitments)
    commitments.give_up(claim(commitments), reason=Reason.SOURCE_REFUSED, detail="0x0110", now=NOON)
    (row,) = rows(engine)
    assert (row.state, row.reason, row.detail) == (CommitmentState.FAILED, Reason.SOURCE_REFUSED, "0x0110")
    assert (row.attempts, row.finished_at) == (1, NOON)


def test_one_timeout_counts_for_all_that_wait_for_the_same_ae(commitments: Commitments, engine: Engine) -> None:
    for number, caller in ((1, "CT1"), (2, "CT1"), (3, "CT2"), (4, "CT1")):
        file(commitments, transaction_uid=f"1.2.{number}", caller=caller)
    held = claim(commitments)
    later = NOON + timedelta(seconds=30)
    other = commitments.claim(lease_s=LEASE_S, now=NOON)
    assert other is not None
    commitments.postpone(held, until=later, reason=Reason.SOURCE_UNREACHABLE, detail="away", whole_peer=True, now=NOON)
    first, second, third, fourth = rows(engine)
    assert [(row.run_at, row.attempts) for row in (first, fourth)] == [(later, 1)] * 2
    assert second.run_at == other.lease_until, "somebody holds it"
    assert (third.run_at, third.attempts) == (NOON, 0)
    assert (fourth.reason, fourth.detail) == (Reason.SOURCE_UNREACHABLE, "away")


def test_a_sender_that_asks_without_end_is_stopped(commitments: Commitments) -> None:
    for number in range(3):
        assert file(commitments, transaction_uid=f"1.2.{number}", most_pending=3) is Filing.FILED
    assert file(commitments, transaction_uid="1.2.9", most_pending=3) is Filing.TOO_MANY
    assert file(commitments, transaction_uid="1.2.2", most_pending=3) is Filing.KNOWN
    assert file(commitments, transaction_uid="1.2.9", most_pending=3, caller="CT2") is Filing.FILED


def test_all_together_ask_about_so_many_images(
    commitments: Commitments, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ichd.store.commitments.MOST_IMAGES_WAITING", 5)
    assert file(commitments, 1, 2, 3) is Filing.FILED
    assert file(commitments, 1, 2, 3, transaction_uid="1.3", caller="CT2") is Filing.TOO_MANY
    assert file(commitments, 1, 2, transaction_uid="1.4", caller="CT2") is Filing.FILED
    commitments.reported(claim(commitments), now=NOON)
    assert file(commitments, 1, 2, 3, transaction_uid="1.3", caller="CT2") is Filing.FILED


def test_the_order_of_the_images_means_nothing(commitments: Commitments, engine: Engine) -> None:
    assert file(commitments, 2, 1) is Filing.FILED
    assert file(commitments, 1, 2) is Filing.KNOWN
    assert len(rows(engine)) == 1


def test_what_is_stored_includes_the_bytes_that_came_second(house: House, commitments: Commitments) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.arrive(image(1), association_id=association_id, content=b"other")
    house.arrive(replace(image(2), sop_class_uid="1.2.3"), association_id=association_id)
    uids = [image(n).sop_instance_uid for n in (1, 2, 3)]
    holdings = commitments.holdings(uids)
    assert set(holdings) == set(uids[:2])
    assert sorted(file.size for file in holdings[uids[0]].files) == sorted([len(b"other"), len(uids[0])])
    assert holdings[uids[1]].sop_class_uid == "1.2.3"
    assert all(house.spool.is_intact(file) for holding in holdings.values() for file in holding.files)


def test_ten_thousand_images_are_looked_up(commitments: Commitments) -> None:
    assert commitments.holdings([f"1.2.3.{n}" for n in range(10_000)]) == {}
