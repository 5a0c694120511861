"""Lanes of couriers: how they end, and what becomes of what they can't deliver."""

import threading
from datetime import timedelta

import pytest

from ichd.domain.errors import Transient
from ichd.domain.job import JobKind, JobState, RetryPolicy
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.pipeline.couriers import Couriers
from ichd.pipeline.worker import Worker, WorkerHarmed, WorkerPolicy
from ichd.store.queue import Job
from tests.store.house import House

POLICY = WorkerPolicy(poll_s=0.01, lease_s=15.0, grace_s=5.0, retry=RetryPolicy(first_s=1.0, ceiling_s=1.0))


def lane(house: House, destination: str, step: object, policy: WorkerPolicy = POLICY) -> Worker:
    assert callable(step)
    return Worker(
        owner=f"w-{destination}",
        queue=house.queue,
        studies=house.studies,
        steps={JobKind.PUBLISH: step},
        policy=policy,
        clock=lambda: house.now,
        destination=destination,
    )


def test_a_defect_in_one_lane_stops_all_and_the_process_hears_of_it(house: House) -> None:
    house.ready()
    house.analyse("pacs")
    stop = threading.Event()

    def defect(_: Job) -> None:
        raise ZeroDivisionError

    lanes = {"pacs": lane(house, "pacs", defect), "archive": lane(house, "archive", defect)}
    couriers = Couriers(lanes, {name: threading.Event() for name in lanes}, stop)
    couriers.start()
    with pytest.raises(WorkerHarmed):
        couriers.join()
    assert stop.is_set()


def test_a_lane_takes_what_is_its_own(house: House) -> None:
    house.ready()
    house.analyse("pacs", "archive")
    stop = threading.Event()
    seen: list[str | None] = []

    def note(job: Job) -> None:
        seen.append(job.destination)
        stop.set()

    lane(house, "archive", note).run(stop)
    assert seen == ["archive"]


def test_a_delivery_that_is_owed_for_too_long_is_given_up_and_can_be_revived(house: House) -> None:
    house.ready()
    house.analyse("pacs")
    patient = WorkerPolicy(
        poll_s=0.01,
        lease_s=15.0,
        grace_s=5.0,
        retry=RetryPolicy(first_s=1.0, ceiling_s=60.0, max_attempts=10**9, give_up_after=timedelta(hours=72)),
    )

    def away(_: Job) -> None:
        raise Transient(Reason.PEER_UNREACHABLE)

    worker = lane(house, "pacs", away, patient)
    worker.work(house.claim(kinds=(JobKind.PUBLISH,)))
    house.wait(71.9 * 3600)
    worker.work(house.claim(kinds=(JobKind.PUBLISH,)))
    assert house.summary().jobs[-1].state is JobState.QUEUED
    house.wait(3600)
    worker.work(house.claim(kinds=(JobKind.PUBLISH,)))
    summary = house.summary()
    assert (summary.state, summary.reason) == (StudyState.FAILED, Reason.GIVEN_UP)
    assert "3 attempts in 72.9 h" in summary.detail

    house.studies.retry(summary.study_uid, now=house.now)
    worker.work(house.claim(kinds=(JobKind.PUBLISH,)))
    assert house.summary().jobs[-1].state is JobState.QUEUED, "its age is counted anew"


def test_a_delivery_to_nobody_ends_with_its_reason(house: House) -> None:
    house.ready()
    house.analyse("pacs", "old-pacs")
    assert house.studies.strand({"pacs"}, now=house.now) == 0, "another worker may know it"
    house.wait(601)
    assert house.studies.strand({"pacs"}, now=house.now) == 1
    states = {job.destination: (job.state, job.reason) for job in house.summary().jobs if job.destination}
    assert states == {
        "pacs": (JobState.QUEUED, None),
        "old-pacs": (JobState.DEAD, Reason.DESTINATION_UNKNOWN),
    }
    assert house.summary().state is StudyState.FAILED
    assert house.studies.strand({"pacs"}, now=house.now) == 0


def test_a_destination_that_another_worker_tries_is_not_nobodys(house: House) -> None:
    house.ready()
    house.analyse("elsewhere")
    house.wait(3600)
    job = house.claim(kinds=(JobKind.PUBLISH,))
    house.studies.failed(job, Reason.PEER_UNREACHABLE, "", retry_at=house.now, now=house.now)
    assert house.studies.strand({"pacs"}, now=house.now) == 0


def test_a_crash_after_a_long_outage_is_the_first_crash(house: House) -> None:
    house.ready()
    house.analyse("pacs")
    for _ in range(20):
        job = house.claim(kinds=(JobKind.PUBLISH,))
        house.studies.failed(job, Reason.ASSOCIATION_REJECTED, "", retry_at=house.now, now=house.now)
        house.wait(60)

    def defect(_: Job) -> None:
        raise ZeroDivisionError

    assert not lane(house, "pacs", defect).work(house.claim(kinds=(JobKind.PUBLISH,)))
    assert house.summary().jobs[-1].state is JobState.QUEUED
