"""Images arrive: new, repeated, in conflict, late."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text

from ichd.domain.completeness import Closing, CompletenessPolicy
from ichd.domain.errors import LeaseLost, Transient
from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.domain.study import CT_IMAGE_STORAGE, StudyState
from ichd.pipeline.ticks import FORGET_AFTER
from ichd.store.arrivals import ArrivalKind
from ichd.store.spool import StoredFile
from tests.store.house import NOON, POLICY, STUDY, House, image, read_record, unread


def test_the_first_slice_opens_its_study(house: House) -> None:
    association_id = house.open_association()
    assert house.arrive(image(1), association_id=association_id) is ArrivalKind.NEW
    summary = house.summary()
    assert (summary.state, summary.revision, summary.series, summary.slices) == (StudyState.RECEIVING, 1, 1, 1)
    assert (summary.received_at, summary.last_instance_at) == (NOON, NOON)
    assert summary.accession_number == "A-17"


def test_a_repeated_slice_is_a_duplicate_and_changes_no_row(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    with house.engine.connect() as connection:
        before = connection.execute(text("SELECT * FROM instance")).all()
    assert house.arrive(image(1), association_id=association_id) is ArrivalKind.DUPLICATE
    with house.engine.connect() as connection:
        assert connection.execute(text("SELECT * FROM instance")).all() == before


def test_other_bytes_under_the_same_uid_are_kept_flagged_and_not_read(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    assert house.arrive(image(1), association_id=association_id, content=b"other") is ArrivalKind.CONFLICT
    (conflict,) = house.studies.detail(STUDY).conflicts
    assert house.spool.locate(conflict.path).read_bytes() == b"other"
    assert (conflict.sop_uid, conflict.study_uid) == (image(1).sop_instance_uid, STUDY)
    house.end_association(association_id)
    house.close()
    work = house.studies.begin_analysis(house.claim(), now=house.now)
    assert [file.path.read_bytes() for file in work.files.values()] == [image(1).sop_instance_uid.encode()]


def test_a_repeated_conflict_is_kept_once(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    kinds = [house.arrive(image(1), association_id=association_id, content=b"other") for _ in range(3)]
    assert kinds == [ArrivalKind.CONFLICT, ArrivalKind.DUPLICATE, ArrivalKind.DUPLICATE]
    assert len(house.studies.detail(STUDY).conflicts) == 1
    assert house.summary().conflicts == 1


def test_one_uid_in_two_studies_is_a_conflict_that_both_show(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    stolen = replace(image(1, study="1.2.840.2"), sop_instance_uid=image(1).sop_instance_uid)
    assert house.arrive(stolen, association_id=association_id, content=b"other") is ArrivalKind.CONFLICT
    assert [c.study_uid for c in house.studies.detail(STUDY).conflicts] == ["1.2.840.2"]
    other = house.studies.detail("1.2.840.2")
    assert [c.study_uid for c in other.conflicts] == ["1.2.840.2"]
    assert other.summary.slices == 0
    # The second study holds nothing to read, but it does not vanish: it closes, and ends with a reason.
    house.end_association(association_id)
    assert sorted(house.close()) == [STUDY, "1.2.840.2"]


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


def test_associations_are_evidence(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.wait(POLICY.silent_period_s - 1)
    assert house.studies.close_complete(POLICY, now=house.now) == []
    house.end_association(association_id)
    house.wait(POLICY.quiet_period_s - 0.5)
    assert house.studies.close_complete(POLICY, now=house.now) == []
    house.wait(0.5)
    assert house.studies.close_complete(POLICY, now=house.now) == [STUDY]
    assert house.summary().closing is Closing.RELEASED_AND_QUIET
    assert house.studies.close_complete(POLICY, now=house.now) == []


def test_an_association_that_never_ends_is_closed_by_silence(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.wait(POLICY.silent_period_s)
    house.close()
    assert house.summary().closing is Closing.SILENT


def test_a_broken_association_is_waited_for_longer(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.end_association(association_id, released=False)
    assert house.close() == []
    house.wait(POLICY.interrupted_period_s)
    assert house.close() == [STUDY]
    assert house.summary().closing is Closing.INTERRUPTED_AND_QUIET


def test_a_broken_association_counts_whatever_a_parallel_one_does(house: House) -> None:
    """Half of the head came through; the release of the other half must not have it read as the whole."""
    left, right = house.open_association(), house.open_association()
    house.arrive(image(1), association_id=left)
    house.wait(0.5)
    house.arrive(image(2), association_id=right)
    house.end_association(left, released=False)
    house.wait(0.5)
    house.end_association(right)
    assert house.close() == []
    resend = house.open_association()
    house.arrive(image(1), association_id=resend)
    house.end_association(resend)
    assert house.close() == [STUDY]
    assert house.summary().closing is Closing.RELEASED_AND_QUIET


def test_an_association_that_refused_an_image_is_waited_for_longer(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.end_association(association_id, refused=1)
    assert house.close() == []
    house.wait(POLICY.interrupted_period_s)
    assert house.close() == [STUDY]
    assert house.summary().closing is Closing.INTERRUPTED_AND_QUIET


def test_a_resend_keeps_the_study_open_until_it_is_released(house: House) -> None:
    """The first twenty seconds of a resend may hold nothing but duplicates; they are evidence all the same."""
    first = house.open_association()
    house.arrive(image(1), association_id=first)
    house.end_association(first, released=False)
    house.wait(1)
    second = house.open_association()
    house.arrive(image(1), association_id=second)
    house.wait(POLICY.interrupted_period_s * 2)
    assert house.close() == []
    house.arrive(image(2), association_id=second)
    house.end_association(second)
    assert house.close() == [STUDY]
    assert house.summary().closing is Closing.RELEASED_AND_QUIET


def test_associations_of_a_dead_listener_end_as_interrupted(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    ended = house.open_association()
    house.end_association(ended)
    assert house.arrivals.end_interrupted(listener="elsewhere:11112", now=house.now) == 0
    assert house.arrivals.end_interrupted(listener="here:11112", now=house.now) == 1
    assert house.arrivals.end_interrupted(listener="here:11112", now=house.now) == 0
    house.wait(POLICY.interrupted_period_s)
    house.close()
    assert house.summary().closing is Closing.INTERRUPTED_AND_QUIET


def test_a_study_is_closed_once_by_many_workers(house: House) -> None:
    house.receive(1, 2)
    house.wait(POLICY.quiet_period_s)
    with ThreadPoolExecutor(4) as pool:
        closed = list(pool.map(lambda _: house.studies.close_complete(CompletenessPolicy(), now=house.now), range(4)))
    assert sorted(closed) == [[], [], [], [STUDY]]


def test_many_senders_at_once_lose_and_double_nothing(house: House) -> None:
    """Four associations send the same two studies at the same time, as a nervous PACS does."""

    def send(_sender: int) -> list[ArrivalKind]:
        association_id = house.open_association()
        return [
            house.arrive(image(number, study=study), association_id=association_id)
            for number in range(10)
            for study in ("1.2.840.5", "1.2.840.6")
        ]

    with ThreadPoolExecutor(4) as pool:
        kinds = [kind for sent in pool.map(send, range(4)) for kind in sent]
    assert kinds.count(ArrivalKind.NEW) == 20
    assert kinds.count(ArrivalKind.DUPLICATE) == 60
    assert [(s.slices, s.series) for s in house.studies.summaries()] == [(10, 1), (10, 1)]


@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
def test_an_image_that_can_not_be_written_down_is_transient(house: House, engine: Engine) -> None:
    association_id = house.open_association()
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE arrival"))
    with pytest.raises(Transient) as caught:
        house.arrive(image(1), association_id=association_id)
    assert caught.value.reason is Reason.STORE_UNAVAILABLE
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM study")).scalar_one() == 0, "all or nothing"


def test_no_path_of_the_spool_is_unknown(house: House, tmp_path: Path) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.arrive(image(1), association_id=association_id, content=b"other")
    paths = [str(p.relative_to(tmp_path / "spool")) for p in (tmp_path / "spool").rglob("*.dcm")]
    assert house.arrivals.known_paths([*paths, "00/" + "0" * 32 + ".dcm"]) == frozenset(paths)
    assert house.arrivals.known_paths([]) == frozenset()


def _first_file(house: House, number: int = 1) -> StoredFile:
    first = house.arrivals.first_file(image(number))
    assert first is not None
    return first


def test_a_resent_image_takes_the_place_of_a_damaged_file(house: House) -> None:
    """The study, finished or not, is read again as a new revision, from the new file."""
    house.ready(1, 2)
    house.analyse()
    damaged = _first_file(house)
    association_id = house.open_association()
    again = house.spool.write([image(1).sop_instance_uid.encode()])
    replaced = house.arrivals.replace(damaged, image(1), again, association_id=association_id, now=house.now)
    assert replaced is ArrivalKind.NEW
    assert _first_file(house) == again
    assert (house.summary().state, house.summary().revision, house.summary().slices) == (StudyState.RECEIVING, 2, 2)
    late = house.spool.write([image(1).sop_instance_uid.encode()])
    assert (
        house.arrivals.replace(damaged, image(1), late, association_id=association_id, now=house.now)
        is ArrivalKind.DUPLICATE
    ), "somebody else was faster"
    house.end_association(association_id)
    house.close()
    work = house.studies.begin_analysis(house.claim(), now=house.now)
    assert work.files[image(1).sop_instance_uid].path == house.spool.locate(again.path)


def test_a_row_is_taken_back_with_what_came_of_it(house: House) -> None:
    association_id = house.open_association()
    house.arrive(image(1), association_id=association_id)
    house.arrive(image(2), association_id=association_id)
    house.arrivals.forget(_first_file(house, 1))
    assert house.arrivals.first_file(image(1)) is None
    assert house.summary().slices == 1
    assert house.arrive(image(1), association_id=association_id) is ArrivalKind.NEW


def test_a_study_shows_what_was_refused_of_it(house: House) -> None:
    house.receive(1)
    for number, study in ((2, STUDY), (3, "1.2.840.2"), (4, None)):
        house.arrivals.refuse(
            Reason.TRUNCATED,
            detail="20 of 128 pixel bytes",
            calling_ae_title="CT1",
            address="192.0.2.1",
            sop_class_uid=CT_IMAGE_STORAGE,
            sop_instance_uid=image(number).sop_instance_uid,
            study_instance_uid=study,
            now=house.now,
        )
    (refusal,) = house.studies.detail(STUDY).refusals
    assert (refusal.reason, refusal.sop_instance_uid) == (Reason.TRUNCATED, image(2).sop_instance_uid)
    assert len(house.arrivals.refusals()) == 3


def test_the_end_of_an_association_that_has_no_row_any_more_is_no_trouble(house: House) -> None:
    association_id = house.open_association()
    house.end_association(association_id + 1)
    assert house.arrivals.end_interrupted(listener="here:11112", now=house.now) == 1


def test_refusals_that_come_together_share_a_commit(house: House) -> None:
    def refuse(number: int) -> None:
        house.arrivals.refuse(
            Reason.TRUNCATED,
            detail="20 of 128 pixel bytes\0",
            calling_ae_title="CT1",
            address="192.0.2.1",
            sop_class_uid=None,
            sop_instance_uid=f"1.2.{number}",
            now=house.now,
        )

    commits: list[object] = []
    event.listen(house.engine, "commit", commits.append)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(refuse, range(200)))
    shown = house.arrivals.refusals(limit=500)
    assert {refusal.sop_instance_uid for refusal in shown} == {f"1.2.{number}" for number in range(200)}
    assert (shown[0].detail.rstrip("\0"), shown[0].study_instance_uid) == (shown[0].detail, None)
    assert len(commits) < 200


def test_a_study_is_under_reception_until_it_is_complete(house: House) -> None:
    assert not house.arrivals.is_under_reception(STUDY)
    house.receive(1)
    assert house.arrivals.is_under_reception(STUDY)
    assert house.close() == [STUDY]
    assert not house.arrivals.is_under_reception(STUDY)


def test_refusals_are_forgotten_after_a_while(house: House) -> None:
    """Nothing else takes them away, and anybody may cause them."""
    for days in (31, 29, 0):
        house.arrivals.refuse(
            Reason.TRUNCATED,
            detail="",
            calling_ae_title="CT1",
            address="192.0.2.1",
            sop_class_uid=None,
            sop_instance_uid=None,
            now=NOON - timedelta(days=days),
        )
    assert house.studies.forget_old(before=NOON - FORGET_AFTER) == 1
    assert [NOON - refusal.refused_at for refusal in house.arrivals.refusals()] == [timedelta(0), timedelta(days=29)]
