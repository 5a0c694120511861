"""A study's way from ready to its end, each step all or nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ichd.domain.completeness import CompletenessPolicy
from ichd.domain.errors import IllegalTransition, LeaseLost, UserError
from ichd.domain.finding import Triage
from ichd.domain.job import JobKind, JobState, RetryPolicy
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from tests.store.house import LEASE_S, STUDY, House, image, read_record, unread


def test_analysis_is_given_the_images_as_facts_and_files(house: House) -> None:
    house.ready(1, 2, 3)
    job = house.claim()
    work = house.studies.begin_analysis(job, now=house.now)
    assert house.summary().state is StudyState.ANALYSING
    assert house.summary().started_at == house.now
    (series,) = work.facts.series
    assert series.instances == (image(1), image(2), image(3))
    assert work.facts.study_instance_uid == STUDY
    assert {uid: file.path.read_bytes() for uid, file in work.files.items()} == {
        image(n).sop_instance_uid: image(n).sop_instance_uid.encode() for n in (1, 2, 3)
    }
    assert work.revision == 1


def test_a_second_attempt_begins_where_the_first_one_did(house: House) -> None:
    house.ready()
    job = house.claim()
    first = house.studies.begin_analysis(job, now=house.now)
    house.studies.failed(job, Reason.INTERNAL_ERROR, "", retry_at=house.now, now=house.now)
    assert house.summary().state is StudyState.ANALYSING
    assert house.studies.begin_analysis(house.claim(), now=house.now) == first


def test_finding_deliveries_and_end_of_job_commit_together(house: House) -> None:
    house.ready()
    house.analyse("pacs", "archive")
    detail = house.studies.detail(STUDY)
    assert detail.record == read_record()
    assert (detail.summary.state, detail.summary.triage) == (StudyState.ANALYSING, Triage.URGENT)
    assert detail.summary.scan == {"any": 0.93}
    assert [(j.kind, j.destination, j.state) for j in detail.jobs] == [
        (JobKind.ANALYSE, None, JobState.DONE),
        (JobKind.PUBLISH, "pacs", JobState.QUEUED),
        (JobKind.PUBLISH, "archive", JobState.QUEUED),
    ]


def test_a_finding_that_can_not_be_kept_whole_is_not_kept(house: House) -> None:
    """Two deliveries to one destination break a constraint at the very end; nothing of the transaction stays."""
    house.ready()
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    with pytest.raises(Exception, match=r"(?i)unique"):
        house.studies.finish_analysis(job, record=read_record(), destinations=["pacs", "pacs"], now=house.now)
    detail = house.studies.detail(STUDY)
    assert detail.record is None
    assert [(j.kind, j.state) for j in detail.jobs] == [(JobKind.ANALYSE, JobState.LEASED)]
    house.studies.finish_analysis(job, record=read_record(), destinations=["pacs"], now=house.now)


def test_a_late_worker_keeps_no_finding(house: House) -> None:
    house.ready()
    late = house.claim("worker-a")
    house.studies.begin_analysis(late, now=house.now)
    house.wait(LEASE_S + 1)
    house.studies.reap(now=house.now, retry=RetryPolicy())
    successor = house.claim("worker-b")
    house.studies.begin_analysis(successor, now=house.now)
    with pytest.raises(LeaseLost):
        house.studies.finish_analysis(late, record=read_record(any_p=0.1), destinations=["pacs"], now=house.now)
    house.studies.finish_analysis(successor, record=read_record(any_p=0.9), destinations=["pacs"], now=house.now)
    with pytest.raises(LeaseLost):
        house.studies.finish_analysis(late, record=read_record(any_p=0.1), destinations=["pacs"], now=house.now)
    assert house.summary().scan == {"any": 0.9}


def test_analysis_must_have_begun_before_it_ends(house: House) -> None:
    house.ready()
    job = house.claim()
    with pytest.raises(IllegalTransition):
        house.studies.not_analysed(job, record=unread(), now=house.now)
    assert house.summary().state is StudyState.READY


def test_without_destinations_a_finding_is_the_end(house: House) -> None:
    house.ready()
    house.analyse()
    summary = house.summary()
    assert (summary.state, summary.finished_at) == (StudyState.REPORTED, house.now)
    record = house.studies.detail(STUDY).record
    assert record is not None
    assert record["state"] == "reported"


def test_a_study_that_can_not_be_read_ends_with_its_reason(house: House) -> None:
    house.ready()
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.not_analysed(job, record=unread(), now=house.now)
    summary = house.summary()
    assert (summary.state, summary.reason, summary.detail) == (
        StudyState.NOT_ANALYSED,
        Reason.NO_READABLE_SERIES,
        "1 series",
    )
    assert (summary.triage, summary.scan) == (None, None)
    assert house.try_claim() is None


def test_reported_means_at_every_destination(house: House) -> None:
    house.ready()
    house.analyse("pacs", "archive")
    house.deliver()
    assert house.summary().state is StudyState.ANALYSING
    house.wait(1)
    house.deliver()
    summary = house.summary()
    assert (summary.state, summary.finished_at) == (StudyState.REPORTED, house.now)
    assert [d.receipt.destination for d in summary.deliveries] == ["pacs", "archive"]
    assert summary.deliveries[1].receipt.sent_at == house.now


def test_a_delivery_is_made_of_the_same_values_at_each_attempt(house: House) -> None:
    house.ready(1, 2)
    house.analyse("pacs")
    made_at = house.now
    job = house.claim()
    first = house.deliveries.begin(job, now=house.now)
    house.studies.failed(job, Reason.PEER_UNREACHABLE, "", retry_at=house.now, now=house.now)
    house.wait(5)
    second = house.deliveries.begin(house.claim(), now=house.now)
    assert replace(first, images=second.images) == second
    assert first.images() == second.images()
    assert first.created_at == made_at
    assert (first.destination, first.revision, first.study_uid) == ("pacs", 1, STUDY)
    assert first.record["slices"][0]["p"]["any"] == 1 / 3, "probabilities come back to the last bit"
    assert first.images().files.keys() == {image(1).sop_instance_uid, image(2).sop_instance_uid}
    assert first.predecessor is None


def test_the_files_of_a_delivery_are_those_of_the_series_that_was_read(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.arrive(image(1, series=f"{STUDY}.2"), association_id=association_id)
    house.end_association(association_id)
    house.close()
    house.analyse("pacs")
    assert list(house.deliveries.begin(house.claim(), now=house.now).images().files) == [image(1).sop_instance_uid]
    read, skipped = house.studies.detail(STUDY).series
    assert (read.reason, read.slices, read.description, read.series_number) == (None, 1, "HEAD 5mm", 2)
    assert (skipped.series_uid, skipped.reason, skipped.detail) == (f"{STUDY}.2", Reason.LOCALIZER, "2 of 2 images")


def test_an_analyse_job_delivers_nothing(house: House) -> None:
    house.ready()
    with pytest.raises(ValueError, match="no delivery"):
        house.deliveries.begin(house.claim(), now=house.now)


def test_a_dead_delivery_fails_the_study_and_retry_mends_it(house: House) -> None:
    house.ready()
    house.analyse("pacs", "archive")
    house.studies.failed(house.claim(), Reason.PEER_REFUSED, "0xA900", retry_at=None, now=house.now)
    house.deliver()
    summary = house.summary()
    assert (summary.state, summary.reason, summary.detail) == (StudyState.FAILED, Reason.PEER_REFUSED, "0xA900")
    assert house.studies.retry(STUDY, now=house.now) == 1
    summary = house.summary()
    assert (summary.state, summary.reason, summary.finished_at) == (StudyState.ANALYSING, None, None)
    assert house.deliver().attempt == 1, "a person's retry starts with fresh attempts"
    assert house.summary().state is StudyState.REPORTED


def test_a_study_keeps_the_first_reason_and_each_job_its_own(house: House) -> None:
    house.ready()
    house.analyse("pacs", "archive")
    for reason in (Reason.PEER_REFUSED, Reason.NO_ACCEPTED_CONTEXT):
        house.studies.failed(house.claim(), reason, "", retry_at=None, now=house.now)
    assert house.summary().reason is Reason.PEER_REFUSED
    assert [j.reason for j in house.summary().jobs] == [None, Reason.PEER_REFUSED, Reason.NO_ACCEPTED_CONTEXT]
    assert house.studies.retry(STUDY, now=house.now) == 2
    house.deliver()
    house.deliver()
    assert house.summary().state is StudyState.REPORTED


def test_a_dead_reading_is_retried_from_the_start(house: House) -> None:
    house.ready()
    house.studies.failed(house.claim(), Reason.MODEL_UNUSABLE, "", retry_at=None, now=house.now)
    assert house.summary().state is StudyState.FAILED
    house.studies.retry(STUDY, now=house.now)
    assert house.summary().state is StudyState.READY
    house.analyse()
    assert house.summary().state is StudyState.REPORTED


def test_retry_hastens_what_waits_for_its_next_attempt(house: House) -> None:
    house.ready()
    house.analyse("pacs")
    house.studies.failed(
        house.claim(), Reason.PEER_UNREACHABLE, "", retry_at=house.now + timedelta(minutes=5), now=house.now
    )
    assert house.try_claim() is None
    assert house.studies.retry(STUDY, now=house.now) == 1
    assert house.deliver().attempt == 2


def test_retrying_nothing_is_a_user_error(house: House) -> None:
    with pytest.raises(UserError, match=r"no study 1\.9 is known"):
        house.studies.retry("1.9", now=house.now)
    house.ready()
    with pytest.raises(UserError, match="nothing to retry"):
        house.studies.retry(STUDY, now=house.now)


def test_reprocessing_makes_a_revision_that_names_its_predecessor(house: House) -> None:
    house.ready()
    house.analyse("pacs")
    house.deliver()
    house.studies.reprocess(STUDY, now=house.now)
    assert (house.summary().state, house.summary().revision) == (StudyState.READY, 2)
    assert house.summary().triage is Triage.URGENT, "the list keeps what is known until something newer is"
    assert house.summary().finding_revision == 1
    house.analyse("pacs", "archive", record=read_record(triage="routine"))
    predecessors = [house.deliveries.begin(house.claim(), now=house.now).predecessor for _ in range(2)]
    assert predecessors[0] == predecessors[1], "one UID stands for one content, at every destination"
    assert predecessors[0] is not None
    assert predecessors[0].revision == 1
    assert predecessors[0].bundle_sha256 == "cd" * 32


def test_a_report_that_nobody_took_is_nobodys_predecessor(house: House) -> None:
    house.ready()
    house.analyse("pacs")
    house.studies.failed(house.claim(), Reason.PEER_REFUSED, "", retry_at=None, now=house.now)
    house.studies.reprocess(STUDY, now=house.now)
    house.analyse("pacs")
    assert house.deliveries.begin(house.claim(), now=house.now).predecessor is None


@pytest.mark.parametrize("state", [StudyState.RECEIVING, StudyState.READY, StudyState.ANALYSING])
def test_an_unfinished_study_is_not_reprocessed(house: House, state: StudyState) -> None:
    if state is StudyState.RECEIVING:
        house.receive(1)
    else:
        house.ready()
    if state is StudyState.ANALYSING:
        house.studies.begin_analysis(house.claim(), now=house.now)
    with pytest.raises(UserError, match=f"still {state}"):
        house.studies.reprocess(STUDY, now=house.now)


def test_a_failed_study_with_a_delivery_waiting_is_reprocessed_without_it(house: House) -> None:
    house.ready()
    house.analyse("pacs", "archive")
    house.studies.failed(house.claim(), Reason.PEER_REFUSED, "", retry_at=None, now=house.now)
    house.studies.reprocess(STUDY, now=house.now)
    assert house.claim().kind is JobKind.ANALYSE
    assert house.try_claim() is None


def test_lists_are_newest_first_narrowed_and_bounded(house: House) -> None:
    for number in range(4):
        house.receive(1, study=f"1.2.840.{number}")
        house.wait(1)
    house.studies.close_complete(CompletenessPolicy(quiet_period_s=2.5), now=house.now)
    assert [s.study_uid[-1] for s in house.studies.summaries()] == ["3", "2", "1", "0"]
    assert [s.study_uid[-1] for s in house.studies.summaries(limit=2)] == ["3", "2"]
    assert [s.study_uid[-1] for s in house.studies.summaries(state=StudyState.READY)] == ["1", "0"]
    assert house.studies.summaries(limit=0) == []


def test_an_unknown_study_has_no_detail(house: House) -> None:
    with pytest.raises(UserError, match="ichd status"):
        house.studies.detail("1.9")


def test_a_report_whose_receipt_was_lost_with_its_worker_is_named_by_the_next_revision(house: House) -> None:
    """Killed after the C-STORE, and a late slice comes: the archive may hold revision 1."""
    house.ready()
    house.analyse("pacs")
    house.deliveries.begin(house.claim("killed"), now=house.now)
    house.receive(3)
    house.wait(LEASE_S + 1)
    house.studies.reap(now=house.now, retry=RetryPolicy())
    house.close()
    house.analyse("pacs")
    predecessor = house.deliveries.begin(house.claim(), now=house.now).predecessor
    assert predecessor is not None
    assert predecessor.revision == 1


def test_a_delivery_that_a_late_slice_overtook_makes_way_at_once(house: House) -> None:
    house.ready()
    house.analyse("pacs")
    overtaken = house.claim(kinds=(JobKind.PUBLISH,))
    house.receive(3)
    house.close()
    house.analyse("pacs")
    with pytest.raises(LeaseLost):
        house.deliveries.begin(overtaken, now=house.now)
    assert house.claim(kinds=(JobKind.PUBLISH,)).revision == 2, "it waits for no lease"


@pytest.mark.parametrize(
    ("reasons", "named"),
    [
        ((Reason.NO_ACCEPTED_CONTEXT,), False),
        ((Reason.PEER_REFUSED,), True),  # of an object that came after the report, perhaps
        ((Reason.DEMO_MODEL_BLOCKED,), False),
        ((Reason.ASSOCIATION_LOST,), True),
        ((Reason.PEER_UNREACHABLE,), True),  # also the name of an answer that did not come in time
        ((Reason.ASSOCIATION_LOST, Reason.ASSOCIATION_REJECTED), True),
    ],
)
def test_a_report_is_named_unless_it_surely_was_not_taken(
    house: House, reasons: tuple[Reason, ...], *, named: bool
) -> None:
    house.ready()
    house.analyse("pacs")
    for reason in reasons:
        job = house.claim()
        house.deliveries.begin(job, now=house.now)
        house.studies.failed(job, reason, "", retry_at=house.now, now=house.now)
        house.wait(60)
    house.receive(3)
    house.close()
    house.analyse("pacs")
    assert (house.deliveries.begin(house.claim(), now=house.now).predecessor is not None) is named


def test_a_delivery_that_has_not_begun_does_not_begin_once_there_is_a_newer_revision(house: House) -> None:
    """The newer revision's report would not know of it."""
    house.ready()
    house.analyse("pacs")
    late = house.claim("slow to start")
    house.receive(3)
    with pytest.raises(LeaseLost):
        house.deliveries.begin(late, now=house.now)
