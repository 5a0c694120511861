"""Retention: what is dropped, what never is, and what a resend brings back."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from ichd.domain.audit import AuditEvent
from ichd.domain.errors import UserError
from ichd.domain.job import JobKind
from ichd.domain.reason import Reason
from ichd.domain.record import unread_record
from ichd.domain.retention import Cause, RetentionPolicy, Watermarks
from ichd.domain.study import StudyState
from ichd.store.arrivals import ArrivalKind
from ichd.store.audit import Audit
from ichd.store.commitments import Commitments
from ichd.store.held import Holdings
from ichd.store.kept import Candidate, Kept, candidates, kept
from ichd.store.retention import Retention
from ichd.store.spool import Spool
from ichd.store.tables import InstanceRow
from tests.store.house import STUDY, House, image, unread

MONTH = timedelta(days=30)
BY_AGE = RetentionPolicy(keep_for=MONTH)
BY_DISK = RetentionPolicy(watermarks=Watermarks(high=0.9, low=0.5))


class SmallDisk(Spool):
    """A spool on a disk of its own, whose size and use a test knows."""

    def __init__(self, root: Path, *, size: int) -> None:
        super().__init__(root)
        self._size = size
        #: What others have on it, bytes.
        self.others = 0

    def disk_bytes(self) -> int:
        return self._size

    def free_fraction(self) -> float:
        held = sum(file.stat().st_size for file in self.root.rglob("*") if file.is_file())
        return 1 - (held + self.others) / self._size


def files(house: House) -> set[str]:
    root = house.spool.root
    return {f"{path.parent.name}/{path.name}" for path in root.rglob("*.dcm")}


def dropped_rows(house: House) -> int:
    with Session(house.engine) as session:
        return sum(row.dropped_at is not None for row in session.scalars(select(InstanceRow)))


def reported(house: House, *studies: str, size: int = 100) -> None:
    """Studies of two slices that were read and are owed to nobody, a second apart."""
    for study in studies:
        association = house.open_association()
        for number in (1, 2):
            content = f"{study}.{number}".encode().ljust(size // 2, b".")
            house.arrive(image(number, study=study), association_id=association, content=content)
        house.end_association(association)
        house.close()
        house.analyse()


def retention(house: House, policy: RetentionPolicy = BY_AGE) -> Retention:
    return Retention(house.engine, house.spool, policy)


def a_month_passes(house: House) -> None:
    house.now += MONTH + timedelta(seconds=1)


def test_images_of_a_finished_study_go_with_age_and_what_was_found_stays(house: House) -> None:
    reported(house, STUDY)
    assert retention(house).run(house.now).total.studies == 0, "they are new"
    before = house.studies.detail(STUDY)

    a_month_passes(house)
    dropped = retention(house).run(house.now)

    assert (dropped.by[Cause.AGE].studies, dropped.total.images, dropped.total.bytes) == (1, 2, 100)
    assert files(house) == set()
    after = house.studies.detail(STUDY)
    assert after.record == before.record
    assert (after.summary.state, after.summary.triage) == (StudyState.REPORTED, "urgent")
    assert (after.summary.dropped, after.summary.images_dropped_at) == (2, house.now)
    assert retention(house).run(house.now).total.studies == 0, "once is enough"


def test_a_plan_changes_nothing_and_comes_true(house: House) -> None:
    reported(house, "1.2.1", "1.2.2")
    a_month_passes(house)
    there = files(house)

    planned = retention(house).plan(house.now)
    assert (files(house), dropped_rows(house)) == (there, 0)
    done = retention(house).run(house.now)

    assert planned.by == done.by
    assert [candidate.study_uid for candidate, _ in planned.first] == ["1.2.1", "1.2.2"]


def test_without_retention_days_images_stay_for_ever(house: House) -> None:
    reported(house, STUDY)
    house.now += timedelta(days=10_000)
    assert retention(house, RetentionPolicy(watermarks=Watermarks(high=1, low=1))).run(house.now).total.studies == 0


def fail(house: House) -> None:
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.failed(job, Reason.INTERNAL_ERROR, "", retry_at=None, now=house.now)


def not_analysed_and_owed(house: House) -> None:
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.not_analysed(job, record=unread(), destinations=("pacs",), now=house.now)


def not_analysed_and_undeliverable(house: House) -> None:
    not_analysed_and_owed(house)
    job = house.claim(kinds=(JobKind.PUBLISH,))
    house.studies.failed(job, Reason.PEER_REFUSED, "", retry_at=None, now=house.now)


@pytest.mark.parametrize(
    ("happens", "because"),
    [
        (lambda _: None, Kept.UNDER_WAY),
        (lambda house: house.claim(), Kept.UNDER_WAY),
        (lambda house: house.analyse("pacs"), Kept.UNDER_WAY),
        (fail, Kept.FAILED),
        (not_analysed_and_owed, Kept.OWED),
        (not_analysed_and_undeliverable, Kept.OWED),
    ],
    ids=["ready", "leased", "to be delivered", "failed", "owed", "owed, and given up"],
)
def test_who_may_still_need_images_keeps_them(house: House, happens: Callable[[House], object], because: Kept) -> None:
    house.ready()
    happens(house)
    there = files(house)
    house.now += 10 * MONTH

    assert retention(house).run(house.now).total.studies == 0

    assert files(house) == there
    assert {reason: amount.studies for reason, amount in kept(house.engine).items() if amount.studies} == {because: 1}
    assert kept(house.engine)[because].images == 2


def test_a_study_that_was_not_analysed_goes_once_everybody_was_told(house: House) -> None:
    house.ready()
    not_analysed_and_owed(house)
    house.deliver()
    a_month_passes(house)
    assert retention(house).run(house.now).total.images == 2


def test_conflicting_duplicates_go_with_their_study_and_a_new_one_later(house: House) -> None:
    reported(house, STUDY)
    association = house.open_association()
    assert house.arrive(image(1), association_id=association, content=b"other") is ArrivalKind.CONFLICT
    a_month_passes(house)
    assert retention(house).run(house.now).total.images == 3

    assert house.arrive(image(2), association_id=association, content=b"third") is ArrivalKind.CONFLICT
    assert house.arrive(image(1), association_id=association, content=b"other") is ArrivalKind.CONFLICT, "it is back"
    assert house.arrive(image(1), association_id=association, content=b"other") is ArrivalKind.DUPLICATE
    assert house.summary().state is StudyState.REPORTED, "a conflict reopens nothing"
    assert retention(house).run(house.now).total.images == 2


def test_the_disk_gets_room_from_the_oldest_first_and_no_more_than_it_needs(house: House, tmp_path: Path) -> None:
    house.spool = SmallDisk(tmp_path / "small", size=1000)
    studies = [f"1.2.{number}" for number in range(1, 9)]
    reported(house, *studies)
    assert house.spool.free_fraction() == pytest.approx(0.2)

    assert retention(house, BY_DISK).run(house.now).by[Cause.DISK].studies == 4

    gone = [study for study in studies if house.summary(study).dropped]
    assert gone == studies[:4], "800 of 1000 bytes were used, and it ends below 500: at 400"


def test_the_disk_is_left_alone_below_the_mark_where_dropping_begins(house: House, tmp_path: Path) -> None:
    house.spool = SmallDisk(tmp_path / "small", size=1000)
    reported(house, *(f"1.2.{number}" for number in range(7)))
    assert BY_DISK.watermarks.dropping_from == pytest.approx(0.8)
    assert retention(house, BY_DISK).run(house.now).total.studies == 0


def test_a_disk_that_gives_room_back_late_does_not_cost_everything(house: House, tmp_path: Path) -> None:
    class Late(SmallDisk):
        def free_fraction(self) -> float:
            return 0.2

    house.spool = Late(tmp_path / "late", size=1000)
    studies = [f"1.2.{number}" for number in range(8)]
    reported(house, *studies)
    assert retention(house, BY_DISK).run(house.now).total.studies == 4


def test_a_disk_that_others_fill_is_still_short(house: House, tmp_path: Path) -> None:
    house.spool = SmallDisk(tmp_path / "small", size=1000)
    reported(house, STUDY)
    house.spool.others = 850
    dropped = retention(house, BY_DISK).run(house.now)
    assert (dropped.total.studies, dropped.still_short) == (1, True)


def test_a_disk_of_copies_is_no_reason_to_drop(house: House, tmp_path: Path) -> None:
    house.spool = SmallDisk(tmp_path / "small", size=100)
    reported(house, STUDY)
    copies = RetentionPolicy(watermarks=BY_DISK.watermarks, makes_room=False)
    assert retention(house, copies).run(house.now).total.studies == 0


def test_more_studies_than_one_look_holds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ichd.store.kept._BATCH", 2)
    reported(house, *(f"1.2.{number}" for number in range(5)))
    a_month_passes(house)
    assert retention(house).plan(house.now).total.studies == 5
    assert retention(house).run(house.now).total.studies == 5
    assert files(house) == set()


def test_the_audit_trail_says_what_went(house: House) -> None:
    reported(house, STUDY)
    a_month_passes(house)
    retention(house).run(house.now)
    (entry,) = Audit(house.engine).read(limit=10, event=AuditEvent.IMAGES_DROPPED)
    assert entry.subject == {
        "study_instance_uid": STUDY,
        "instances": 2,
        "sop_class_uids": [image(1).sop_class_uid],
        "why": "age",
    }


class Killed(BaseException):
    """As by SIGKILL: nothing after it happens."""


def test_a_death_before_the_files_are_deleted_is_made_good_by_the_sweep(house: House) -> None:
    class Deadly(Spool):
        def discard(self, path: str) -> None:
            raise Killed

    reported(house, STUDY)
    a_month_passes(house)
    with pytest.raises(Killed):
        Retention(house.engine, Deadly(house.spool.root), BY_AGE).run(house.now)
    assert (len(files(house)), dropped_rows(house)) == (2, 2)

    house.studies.sweep_spool(older_than=timedelta(0), now=datetime.now(house.now.tzinfo) + timedelta(seconds=5))

    assert files(house) == set()
    assert not house.spool.root.with_name("spool.orphans").exists(), "nobody will ask for them"


def test_a_late_slice_that_comes_in_between_saves_its_study(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def then_late(*args: Any, **options: Any) -> Iterator[Candidate]:
        for candidate in candidates(*args, **options):
            house.receive(3)
            yield candidate

    reported(house, STUDY)
    a_month_passes(house)
    monkeypatch.setattr("ichd.store.retention.candidates", then_late)
    assert retention(house).run(house.now).total.studies == 0
    assert (len(files(house)), dropped_rows(house)) == (3, 0)


def gone(house: House) -> None:
    reported(house, STUDY)
    a_month_passes(house)
    retention(house).run(house.now)


def test_dropped_images_are_not_held_and_nobody_vouches_for_them(house: House) -> None:
    gone(house)
    uids = [image(1).sop_instance_uid, image(2).sop_instance_uid]
    assert Holdings(house.engine).held(uids) == frozenset()
    assert Commitments(house.engine).holdings(uids) == {}


def test_a_dropped_study_is_not_read_again_before_it_is_sent_again(house: House) -> None:
    gone(house)
    with pytest.raises(UserError, match=f"dropped on {house.now:%Y-%m-%d}; send it again"):
        house.studies.reprocess(STUDY, now=house.now)


def test_a_late_slice_of_a_dropped_study_makes_a_revision_that_misses_the_others(house: House) -> None:
    gone(house)
    house.receive(3)
    assert house.summary().state is StudyState.RECEIVING
    house.close()
    job = house.claim()
    work = house.studies.begin_analysis(job, now=house.now)

    assert (job.revision, len(work.facts.series[0].instances)) == (2, 3)
    assert set(work.files) == set(work.stored) == {image(3).sop_instance_uid}


def images_dropped() -> dict[str, object]:
    return unread_record(
        study_uid=STUDY,
        series_uid=None,
        state=StudyState.NOT_ANALYSED,
        reason=Reason.IMAGES_DROPPED,
        detail="2 of 3 images",
        software_version="1",
        skipped=(),
    )


def test_what_was_found_is_still_shown_after_a_slice_that_came_too_late(house: House) -> None:
    gone(house)
    house.receive(3)
    house.close()
    job = house.claim()
    house.studies.begin_analysis(job, now=house.now)
    house.studies.not_analysed(job, record=images_dropped(), now=house.now)

    summary = house.summary()
    assert (summary.state, summary.reason) == (StudyState.NOT_ANALYSED, Reason.IMAGES_DROPPED)
    assert (summary.revision, summary.finding_revision, summary.triage) == (2, 1, "urgent")
    assert (summary.slices, summary.dropped) == (3, 2)
    a_month_passes(house)
    assert retention(house).run(house.now).total.images == 1, "the late slice goes in its turn"


def test_a_resend_brings_the_images_back_one_by_one(house: House) -> None:
    gone(house)
    association = house.open_association()

    def resend(number: int) -> ArrivalKind:
        content = f"{STUDY}.{number}".encode().ljust(50, b".")
        return house.arrive(image(number), association_id=association, content=content)

    assert resend(1) is ArrivalKind.NEW
    assert resend(1) is ArrivalKind.DUPLICATE
    assert (house.summary().state, house.summary().revision, house.summary().dropped) == (StudyState.RECEIVING, 2, 1)
    assert resend(2) is ArrivalKind.NEW
    house.end_association(association)
    assert house.close() == [STUDY]
    work = house.studies.begin_analysis(house.claim(), now=house.now)

    assert len(work.files) == 2
    assert all(house.spool.is_intact(stored) for stored in work.stored.values())
    assert (house.summary().dropped, house.summary().images_dropped_at) == (0, None)
