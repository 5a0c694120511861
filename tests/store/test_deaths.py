"""Deaths of workers over a job: which count, who takes one back, and what a poison study may cost."""

from collections.abc import Callable
from datetime import timedelta
from itertools import product

import pytest

from ichd.domain.errors import LeaseLost
from ichd.domain.job import DEATHS_ALLOWED, JobKind, JobState, RetryPolicy
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.store.queue import Job
from tests.store.house import LEASE_S, House

KINDS = tuple(JobKind)


def wait_for_job(house: House, kind: JobKind) -> None:
    """A study of which a job of this kind is due."""
    house.ready()
    if kind is JobKind.PUBLISH:
        house.analyse("pacs")


def begin(house: House, job: Job) -> None:
    if job.kind is JobKind.ANALYSE:
        house.studies.begin_analysis(job, now=house.now)
    else:
        house.deliveries.begin(job, now=house.now)


def cut_off(house: House, owner: str = "cut off", *, begun: bool = True) -> Job:
    """A worker claims the job, is not heard of again, and counts as dead."""
    job = house.claim(owner)
    if begun:
        begin(house, job)
    house.wait(LEASE_S + 1)
    assert house.studies.reap(now=house.now, retry=RetryPolicy()) == 1
    house.wait(60)
    return job


def shown(house: House, kind: JobKind) -> tuple[JobState, Reason | None, str]:
    (job,) = [job for job in house.summary().jobs if job.kind is kind]
    return job.state, job.reason, job.detail


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_outlives_as_many_workers_as_its_kind_may_is_dead(house: House, kind: JobKind) -> None:
    wait_for_job(house, kind)
    for _ in range(DEATHS_ALLOWED[kind]):
        assert house.summary().state is not StudyState.FAILED
        cut_off(house, "w")
    assert house.try_claim() is None
    summary = house.summary()
    assert (summary.state, summary.reason) == (StudyState.FAILED, Reason.WORKER_DIED)
    state, reason, detail = shown(house, kind)
    assert (state, reason, detail) == (JobState.DEAD, Reason.WORKER_DIED, ", ".join(["w"] * DEATHS_ALLOWED[kind]))


def test_a_poison_study_costs_two_workers_and_a_delivery_five() -> None:
    assert DEATHS_ALLOWED == {JobKind.ANALYSE: 2, JobKind.PUBLISH: 5}


@pytest.mark.parametrize("kind", KINDS)
def test_a_lease_that_ran_out_before_its_work_began_kills_nobodys_count(house: House, kind: JobKind) -> None:
    """The answer to a claim got lost, again and again: nobody works on it, and nobody died."""
    wait_for_job(house, kind)
    for _ in range(7):
        cut_off(house, begun=False)
    assert shown(house, kind)[:2] == (JobState.QUEUED, None)
    job = house.claim()
    assert job.attempt == 8
    begin(house, job)


def test_each_lease_begins_anew(house: House) -> None:
    """The first one began and was given back; the second did not begin."""
    house.ready()
    first = house.claim("w")
    begin(house, first)
    house.queue.release(first, now=house.now)
    cut_off(house, begun=False)
    assert shown(house, JobKind.ANALYSE) == (JobState.QUEUED, None, "")


def test_the_first_death_costs_no_wait_and_each_later_one_more(house: House) -> None:
    house.ready()
    waits = []
    for _ in range(4):
        begin(house, house.claim())
        house.wait(LEASE_S + 1)
        allowed = {JobKind.ANALYSE: 5, JobKind.PUBLISH: 5}
        house.studies.reap(now=house.now, retry=RetryPolicy(first_s=2, factor=2), deaths_allowed=allowed)
        (job,) = house.summary().jobs
        waits.append((job.run_at - house.now).total_seconds())
        house.wait(waits[-1])
    assert waits == [0, 2, 4, 8]


def test_a_worker_that_lives_to_report_an_error_breaks_the_row_of_deaths(house: House) -> None:
    house.ready()
    for _ in range(3):
        cut_off(house)
        job = house.claim()
        begin(house, job)
        house.studies.failed(job, Reason.PEER_BUSY, "", retry_at=house.now, now=house.now)
    assert house.claim().attempt == 7


def test_crashes_and_deaths_are_counted_together(house: House) -> None:
    """One more death than crashes are allowed must not slip past a comparison for equality."""
    house.ready()
    cut_off(house)
    job = house.claim()
    begin(house, job)
    house.studies.failed(job, Reason.INTERNAL_ERROR, "", retry_at=house.now, crashes_allowed=1, now=house.now)
    assert shown(house, JobKind.ANALYSE)[:2] == (JobState.DEAD, Reason.INTERNAL_ERROR)


@pytest.mark.parametrize("kind", KINDS)
def test_partitions_bury_nothing(house: House, kind: JobKind) -> None:
    """Every worker that takes it is cut off for longer than its lease, and says afterwards that it lives."""
    wait_for_job(house, kind)
    for number in range(3 * DEATHS_ALLOWED[kind]):
        job = cut_off(house, f"w{number}")
        assert house.studies.exonerate(job, now=house.now)
        assert shown(house, kind) == (JobState.QUEUED, None, "")
    assert house.try_claim() is not None


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_buried_for_a_death_that_never_was_comes_again(house: House, kind: JobKind) -> None:
    wait_for_job(house, kind)
    jobs = [cut_off(house, f"w{number}") for number in range(DEATHS_ALLOWED[kind])]
    assert house.summary().state is StudyState.FAILED
    house.studies.exonerate(jobs[0], now=house.now)
    summary = house.summary()
    assert summary.state is (StudyState.READY if kind is JobKind.ANALYSE else StudyState.ANALYSING)
    assert (summary.reason, summary.finished_at) == (None, None)
    job = house.claim()
    begin(house, job)
    if kind is JobKind.PUBLISH:
        house.deliveries.delivered(job, house.receipt(job), now=house.now)
        assert house.summary().state is StudyState.REPORTED


# Of two workers that were cut off one after the other: who comes back, and when (after the first death, or the second).
@pytest.mark.parametrize(("first", "second"), [*product(("never", "early", "late"), ("never", "late"))])
def test_only_who_lives_is_taken_off_the_count(house: House, first: str, second: str) -> None:
    house.ready()
    a = cut_off(house, "a")
    if first == "early":
        assert house.studies.exonerate(a, now=house.now)
    b = cut_off(house, "b")
    if first == "late":
        assert house.studies.exonerate(a, now=house.now)
    if second == "late":
        assert house.studies.exonerate(b, now=house.now)

    dead = [name for name, returned in (("a", first), ("b", second)) if returned == "never"]
    state = JobState.DEAD if len(dead) == 2 else JobState.QUEUED
    assert shown(house, JobKind.ANALYSE) == (state, Reason.WORKER_DIED if dead else None, ", ".join(dead))
    if state is JobState.QUEUED:
        # As many true deaths as are left bury it, no more and no less.
        for number in range(2 - len(dead)):
            assert house.summary().state is not StudyState.FAILED
            cut_off(house, f"killed {number}")
        assert house.summary().state is StudyState.FAILED


def _said_twice(house: House, job: Job) -> None:
    house.studies.exonerate(job, now=house.now)


def _revived_by_hand(house: House, _job: Job) -> None:
    house.studies.retry("1.2.840.1", now=house.now)


def _overtaken_by_a_late_slice(house: House, _job: Job) -> None:
    house.receive(9)
    house.close()


def _done_by_its_successor(house: House, job: Job) -> None:
    house.studies.exonerate(job, now=house.now)
    house.analyse("pacs")


@pytest.mark.parametrize("event", [_said_twice, _revived_by_hand, _overtaken_by_a_late_slice, _done_by_its_successor])
def test_a_word_that_no_longer_matters_changes_nothing(house: House, event: Callable[[House, Job], None]) -> None:
    house.ready()
    cut_off(house, "other")
    job = cut_off(house, "w")
    event(house, job)
    before = house.summary()
    assert not house.studies.exonerate(job, now=house.now)
    assert house.summary() == before


def test_a_job_that_was_not_lost_yet_is_given_back_by_who_no_longer_works_on_it(house: House) -> None:
    """The database was away for the end of its step, and is back before the lease ran out."""
    house.ready()
    job = house.claim("w")
    begin(house, job)
    assert house.studies.exonerate(job, now=house.now)
    house.wait(LEASE_S + 1)
    assert house.studies.reap(now=house.now, retry=RetryPolicy()) == 0
    assert house.claim("successor").attempt == 2


def test_a_successor_works_on_undisturbed(house: House) -> None:
    house.ready()
    late = cut_off(house, "late")
    successor = house.claim("successor")
    begin(house, successor)
    assert house.studies.exonerate(late, now=house.now)
    house.queue.extend(successor, lease_s=LEASE_S, now=house.now)
    with pytest.raises(LeaseLost):
        house.queue.extend(late, lease_s=LEASE_S, now=house.now)
    house.wait(LEASE_S + 1)
    house.studies.reap(now=house.now, retry=RetryPolicy())
    assert shown(house, JobKind.ANALYSE) == (JobState.QUEUED, Reason.WORKER_DIED, "successor")


def test_a_study_that_failed_for_another_reason_too_stays_failed(house: House) -> None:
    house.ready()
    house.analyse("pacs", "archive")
    refused = house.claim()
    house.studies.failed(refused, Reason.PEER_REFUSED, "", retry_at=None, now=house.now)
    jobs = [cut_off(house, f"w{number}") for number in range(DEATHS_ALLOWED[JobKind.PUBLISH])]
    assert house.studies.exonerate(jobs[-1], now=house.now)
    summary = house.summary()
    assert (summary.state, summary.reason) == (StudyState.FAILED, Reason.PEER_REFUSED)
    assert sorted(job.state for job in summary.jobs if job.kind is JobKind.PUBLISH) == [JobState.DEAD, JobState.QUEUED]


def test_the_settings_say_how_many_readings_may_die(house: House) -> None:
    house.ready()
    begin(house, house.claim())
    house.now += timedelta(seconds=LEASE_S + 1)
    house.studies.reap(now=house.now, retry=RetryPolicy(), deaths_allowed={**DEATHS_ALLOWED, JobKind.ANALYSE: 1})
    assert house.summary().state is StudyState.FAILED
