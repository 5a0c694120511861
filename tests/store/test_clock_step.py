"""A clock that is set back or forward: nothing stays undone for as long as the step was, nothing is lost or doubled."""

from datetime import timedelta

import pytest

from ichd.domain.clock_step import Horizon
from ichd.domain.errors import LeaseLost
from ichd.domain.job import JobKind, JobState, RetryPolicy
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.store.clock_step import repair_future
from tests.store.house import LEASE_S, POLICY, STUDY, House, image, read_record

HORIZON = Horizon(lease=timedelta(seconds=LEASE_S), wait=timedelta(minutes=5), pause=timedelta(minutes=1))
STEP_S = 6 * 3600.0


def set_back(house: House) -> None:
    house.wait(-STEP_S)


def repair(house: House) -> int:
    return repair_future(house.engine, horizon=HORIZON, now=house.now)


def test_where_the_clock_is_right_nothing_is_mended(house: House) -> None:
    house.ready(study="1.2.840.7")
    house.analyse("pacs")
    job = house.claim()
    house.studies.failed(job, Reason.PEER_UNREACHABLE, "", retry_at=house.now + HORIZON.wait, now=house.now)
    house.ready(study="1.2.840.8")
    house.claim()
    house.receive(1, study="1.2.840.9")
    assert repair(house) == 0


def test_the_lease_of_a_dead_worker_runs_out_all_the_same(house: House) -> None:
    house.ready()
    house.claim()
    set_back(house)
    house.wait(LEASE_S + 1)
    assert house.studies.reap(now=house.now, retry=RetryPolicy()) == 0, "it would run out in six hours"
    assert repair(house) == 1
    house.wait(LEASE_S + 1)
    assert house.studies.reap(now=house.now, retry=RetryPolicy()) == 1
    assert house.claim().attempt == 2


def test_a_job_that_was_made_before_the_step_is_due(house: House) -> None:
    house.ready()
    set_back(house)
    assert house.try_claim() is None
    assert repair(house) == 1
    house.analyse()
    assert house.summary().state is StudyState.REPORTED


def test_it_keeps_its_place_among_what_came_after_the_step(house: House) -> None:
    house.ready(study="1.2.840.7")
    set_back(house)
    repair(house)
    house.ready(study="1.2.840.8")
    assert [house.claim().study_uid for _ in range(2)] == ["1.2.840.7", "1.2.840.8"]


def test_a_retry_is_not_put_off_by_the_step(house: House) -> None:
    house.ready()
    house.wait(3600)
    retry_at = house.now + timedelta(minutes=5)
    house.studies.failed(house.claim(), Reason.PEER_BUSY, "", retry_at=retry_at, now=house.now)
    house.wait(-1800)
    assert house.try_claim() is None
    assert repair(house) == 1
    assert house.claim().attempt == 2


def test_a_destination_that_is_left_alone_is_tried_again(house: House) -> None:
    house.ready()
    house.analyse("pacs")
    house.studies.failed(house.claim(), Reason.PEER_UNREACHABLE, "", retry_at=house.now, now=house.now)
    assert house.try_claim() is None, "it is left alone"
    set_back(house)
    assert repair(house) == 2
    assert house.claim(kinds=(JobKind.PUBLISH,)).destination == "pacs"


def test_a_study_is_quiet_although_its_last_image_came_tomorrow(house: House) -> None:
    house.receive(1, 2)
    set_back(house)
    house.wait(POLICY.silent_period_s)
    assert house.studies.close_complete(POLICY, now=house.now) == []
    assert repair(house) == 2
    assert house.close() == [STUDY]


def test_an_open_association_of_tomorrow_holds_up_nothing_for_longer_than_one_of_today(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    set_back(house)
    assert repair(house) == 2
    house.wait(POLICY.silent_period_s)
    assert house.studies.close_complete(POLICY, now=house.now) == [STUDY]


def test_a_step_forward_gives_a_living_workers_job_away_once_and_doubles_nothing(house: House) -> None:
    house.ready()
    slow = house.claim("slow")
    house.studies.begin_analysis(slow, now=house.now)
    house.wait(STEP_S)
    assert house.studies.reap(now=house.now, retry=RetryPolicy()) == 1
    with pytest.raises(LeaseLost):
        house.queue.extend(slow, lease_s=LEASE_S, now=house.now)
    house.analyse("pacs")
    with pytest.raises(LeaseLost):
        house.studies.finish_analysis(slow, record=read_record(), destinations=["pacs"], now=house.now)
    house.deliver()
    assert [job.state for job in house.studies.detail(STUDY).jobs] == [JobState.DONE, JobState.DONE]
    assert len(house.summary().deliveries) == 1
