"""A destination that hangs costs one timeout at a time, and keeps nobody from reading."""

from datetime import timedelta

import pytest

from ichd.domain.errors import UserError
from ichd.domain.job import JobKind
from ichd.domain.reason import Reason
from ichd.store.queue import Job
from tests.store.house import House

TEN = [f"1.2.840.{number}" for number in range(10)]


@pytest.fixture
def waiting(house: House) -> House:
    """Ten reports wait for `pacs`, and one of them for `archive` as well."""
    for study in TEN:
        house.ready(study=study)
        house.analyse("pacs", *(["archive"] if study == TEN[-1] else []))
    return house


def fail(house: House, job: Job, reason: Reason = Reason.PEER_UNREACHABLE) -> None:
    house.studies.failed(job, reason, "", retry_at=house.now + timedelta(seconds=2), now=house.now)


def test_one_failure_closes_the_destination_for_all_and_no_other(waiting: House) -> None:
    fail(waiting, waiting.claim())
    job = waiting.claim()
    assert job.destination == "archive"
    waiting.deliveries.delivered(job, waiting.receipt(job), now=waiting.now)
    assert waiting.try_claim() is None


def test_pauses_grow_to_a_minute_and_each_is_ended_by_one_trial(waiting: House) -> None:
    fail(waiting, waiting.claim())
    waiting.deliver()
    pauses = []
    for _ in range(8):
        pause = 0
        while (trial := waiting.try_claim()) is None:
            waiting.wait(1)
            pause += 1
        assert waiting.try_claim() is None, "one trial at a time"
        pauses.append(pause)
        fail(waiting, trial)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]


def test_an_answer_opens_it_for_all(waiting: House) -> None:
    fail(waiting, waiting.claim())
    waiting.deliver()
    waiting.wait(2)
    waiting.deliver()
    assert [waiting.claim().destination for _ in range(9)] == ["pacs"] * 9
    assert waiting.try_claim() is None


@pytest.mark.parametrize("reason", [Reason.STORE_UNAVAILABLE, Reason.FILE_DAMAGED])
def test_trouble_of_one_report_or_of_ours_closes_nothing(waiting: House, reason: Reason) -> None:
    fail(waiting, waiting.claim(), reason)
    assert waiting.claim().destination == "pacs"


def test_a_lane_gives_the_deliveries_of_one_destination_alone(house: House) -> None:
    house.ready()
    house.analyse("pacs", "archive")

    def claimed(destination: str) -> str | None:
        job = house.queue.claim(
            owner="courier", lease_s=15, now=house.now, kinds=(JobKind.PUBLISH,), destination=destination
        )
        return job.destination if job else None

    assert [claimed(name) for name in ("archive", "archive", "pacs", "elsewhere")] == ["archive", None, "pacs", None]


def test_a_retry_by_a_person_opens_it_at_once(waiting: House) -> None:
    failed = waiting.claim()
    fail(waiting, failed)
    waiting.deliver()
    other = next(study for study in TEN if study != failed.study_uid)
    assert waiting.studies.retry(other, now=waiting.now) == 1, "it waited for the destination, not for itself"
    assert waiting.claim().destination == "pacs"
    with pytest.raises(UserError, match="nothing to retry"):
        waiting.studies.retry(TEN[5], now=waiting.now)
