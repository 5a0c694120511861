"""Slices that come late: a study is read again, and nothing of before overtakes or outlives that."""

from dataclasses import replace

import pytest

from ichd.domain.errors import LeaseLost
from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.store.arrivals import ArrivalKind
from tests.store.house import STUDY, House, image, read_record, unread


def _to_ready(house: House) -> None:
    house.ready()


def _to_analysing(house: House) -> None:
    house.ready()
    house.studies.begin_analysis(house.claim(), now=house.now)


def _to_reported(house: House) -> None:
    house.ready()
    house.analyse()


def _to_not_analysed(house: House) -> None:
    house.ready()
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.not_analysed(job, record=unread(), now=house.now)


def _to_failed(house: House) -> None:
    house.ready()
    house.studies.failed(house.claim(), Reason.MODEL_UNUSABLE, "no file", retry_at=None, now=house.now)


PAST_RECEIVING = {
    StudyState.READY: _to_ready,
    StudyState.ANALYSING: _to_analysing,
    StudyState.REPORTED: _to_reported,
    StudyState.NOT_ANALYSED: _to_not_analysed,
    StudyState.FAILED: _to_failed,
}


@pytest.mark.parametrize("state", PAST_RECEIVING)
def test_a_late_slice_reopens_the_study_as_a_new_revision(house: House, state: StudyState) -> None:
    PAST_RECEIVING[state](house)
    assert house.summary().state is state
    house.receive(3)
    summary = house.summary()
    assert (summary.state, summary.revision, summary.slices) == (StudyState.RECEIVING, 2, 3)
    assert (summary.reason, summary.detail, summary.finished_at, summary.closing) == (None, "", None, None)
    assert house.close() == [STUDY]
    job = house.claim()
    assert (job.kind, job.revision) == (JobKind.ANALYSE, 2)
    assert house.try_claim() is None
    assert len(house.studies.begin_analysis(job, now=house.now).files) == 3


@pytest.mark.parametrize("state", PAST_RECEIVING)
def test_duplicates_and_conflicts_do_not_reopen(house: House, state: StudyState) -> None:
    PAST_RECEIVING[state](house)
    before = house.summary()
    association_id = house.open_association()
    house.wait(1)
    assert house.arrive(image(1), association_id=association_id) is ArrivalKind.DUPLICATE
    assert house.summary() == before
    assert house.arrive(image(1), association_id=association_id, content=b"other") is ArrivalKind.CONFLICT
    assert house.summary() == replace(before, conflicts=1)


def test_a_late_slice_supersedes_a_queued_reading(house: House) -> None:
    house.ready()
    house.receive(3)
    (job,) = house.studies.detail(STUDY).jobs
    assert (job.kind, job.state, job.superseded) == (JobKind.ANALYSE, JobState.DONE, True)
    assert house.try_claim() is None


def test_a_late_slice_takes_the_lease_of_a_reading_that_is_under_way(house: House) -> None:
    house.ready()
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.receive(3)
    with pytest.raises(LeaseLost):
        house.queue.extend(job, lease_s=15, now=house.now)
    with pytest.raises(LeaseLost):
        house.studies.finish_analysis(job, record=read_record(), destinations=["pacs"], now=house.now)
    detail = house.studies.detail(STUDY)
    assert detail.record is None
    assert [j.kind for j in detail.jobs] == [JobKind.ANALYSE]


def test_a_late_slice_supersedes_deliveries_that_have_not_begun(house: House) -> None:
    house.ready()
    house.analyse("pacs", "archive")
    house.deliver()
    house.receive(3)
    states = {j.destination: (j.state, j.superseded) for j in house.studies.detail(STUDY).jobs if j.destination}
    assert sorted(states.values()) == [(JobState.DONE, False), (JobState.DONE, True)]
    assert house.try_claim() is None


def test_a_delivery_under_way_ends_by_itself_before_the_next_revision_goes_out(house: House) -> None:
    house.ready()
    house.analyse("pacs")
    slow = house.claim()
    house.receive(3)
    house.close()
    house.analyse("pacs")
    assert house.try_claim() is None, "revision 2 must not overtake revision 1 on its way to the same destination"
    house.deliveries.delivered(slow, house.receipt(slow), now=house.now)
    assert house.summary().state is StudyState.ANALYSING
    assert house.deliver().revision == 2
    assert house.summary().state is StudyState.REPORTED
    assert [d.revision for d in house.studies.detail(STUDY).deliveries] == [1, 2]


def test_a_failed_delivery_of_an_earlier_revision_is_not_retried(house: House) -> None:
    house.ready()
    house.analyse("pacs")
    slow = house.claim()
    house.receive(3)
    house.studies.failed(slow, Reason.PEER_UNREACHABLE, "", retry_at=house.now, now=house.now)
    assert house.try_claim() is None
    assert house.summary().state is StudyState.RECEIVING
