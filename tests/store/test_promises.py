"""What destinations answer when they are asked to take responsibility."""

from datetime import timedelta

import pytest

from ichd.domain.job import JobKind
from ichd.domain.reason import Reason
from ichd.store.promises import Promises
from ichd.store.queue import Job
from tests.store.house import House

TRANSACTION = "2.25.77"
LATER_S = 600.0


@pytest.fixture
def promises(house: House) -> Promises:
    return Promises(house.engine)


@pytest.fixture
def job(house: House) -> Job:
    """A delivery that was made, and waits for ten minutes to look whether it is committed."""
    house.ready()
    house.analyse("pacs")
    return house.claim(kinds=(JobKind.PUBLISH,))


def wait_for_answer(house: House, job: Job) -> None:
    retry_at = house.now + timedelta(seconds=LATER_S)
    house.studies.failed(job, Reason.NOT_COMMITTED, "", retry_at=retry_at, now=house.now)


def test_before_the_answer_nothing_is_promised(house: House, promises: Promises, job: Job) -> None:
    assert promises.verdict(job.id) is None
    promises.ask(job.id, TRANSACTION, "PACS ", house.now)
    promise = promises.verdict(job.id)
    assert promise is not None
    assert (promise.transaction_uid, promise.ae_title, promise.asked_at) == (TRANSACTION, "PACS", house.now)
    assert (promise.answered_at, promise.committed) == (None, None)


@pytest.mark.parametrize("committed", [(), ("2.25.1", "2.25.2")])
def test_an_answer_is_kept_and_the_delivery_is_looked_at_at_once(
    house: House, promises: Promises, job: Job, committed: tuple[str, ...]
) -> None:
    promises.ask(job.id, TRANSACTION, "PACS", house.now)
    wait_for_answer(house, job)
    assert house.try_claim() is None
    house.wait(5)
    assert promises.answer(TRANSACTION, " PACS", committed, house.now)
    promise = promises.verdict(job.id)
    assert promise is not None
    assert (promise.answered_at, promise.committed) == (house.now, committed)
    assert house.claim().id == job.id


def test_a_delivery_under_way_keeps_its_worker(house: House, promises: Promises, job: Job) -> None:
    promises.ask(job.id, TRANSACTION, "PACS", house.now)
    assert promises.answer(TRANSACTION, "PACS", (), house.now)
    house.deliveries.delivered(job, house.receipt(job), now=house.now)


def test_only_who_was_asked_may_answer(house: House, promises: Promises, job: Job) -> None:
    promises.ask(job.id, TRANSACTION, "PACS", house.now)
    assert not promises.answer(TRANSACTION, "OTHER", (), house.now)
    assert not promises.answer("2.25.78", "PACS", (), house.now)
    promise = promises.verdict(job.id)
    assert promise is not None
    assert promise.answered_at is None


def test_an_answer_that_comes_again_is_known_and_changes_nothing(house: House, promises: Promises, job: Job) -> None:
    promises.ask(job.id, TRANSACTION, "PACS", house.now)
    asked = house.now
    assert promises.answer(TRANSACTION, "PACS", ("2.25.1",), house.now)
    house.wait(1)
    assert promises.answer(TRANSACTION, "PACS", (), house.now)
    promises.ask(job.id, TRANSACTION, "PACS", house.now)
    promise = promises.verdict(job.id)
    assert promise is not None
    assert (promise.asked_at, promise.answered_at, promise.committed) == (asked, asked, ("2.25.1",))


def test_the_last_question_counts(house: House, promises: Promises, job: Job) -> None:
    promises.ask(job.id, TRANSACTION, "PACS", house.now)
    promises.answer(TRANSACTION, "PACS", ("2.25.1",), house.now)
    promises.ask(job.id, "2.25.78", "PACS", house.now)
    promise = promises.verdict(job.id)
    assert promise is not None
    assert (promise.transaction_uid, promise.committed) == ("2.25.78", None)
