"""What a courier does with one delivery: what goes out, what is left out, and when it counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ichd.domain.delivery import ObjectKind, Outgoing, Parcel, Proof, Receipt, choose, proposed
from ichd.domain.errors import Permanent, Transient
from ichd.domain.finding import CLASSES, ReadingRule, Threshold, Triage, conclude
from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.domain.record import Record, record_of, unread_record
from ichd.domain.study import StudyState
from ichd.intake.header import read_facts
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.pipeline.deliver import Route
from ichd.pipeline.makers import MAKERS
from ichd.pipeline.proof import Confirm
from ichd.publish.commitment import CommitmentReport
from ichd.store.promises import Promises
from ichd.store.queue import Job
from ichd.vision.reader import Reader
from ichd.vision.scan import SliceSource, load_scan
from tests.pipeline.delivering import courier, route
from tests.store.house import House

SR, KO, SC, GSPS, HEAT = ObjectKind.SR, ObjectKind.KO, ObjectKind.SC, ObjectKind.GSPS, ObjectKind.HEAT
#: Finds something in whatever an untrained network says, or nothing at all.
URGENT = ReadingRule(thresholds={name: Threshold(present_from=0.0, absent_below=0.0) for name in CLASSES})
ROUTINE = ReadingRule(thresholds={name: Threshold(present_from=1.0, absent_below=1.0) for name in CLASSES})


@dataclass
class Archive:
    """A destination that takes everything, and does what else it is told."""

    name: str = "pacs"
    is_loopback: bool = True
    #: SOP Instance UIDs of each delivery, in the order of their sending.
    deliveries: list[list[str]] = field(default_factory=list)
    kinds: list[ObjectKind] = field(default_factory=list)
    #: How often a query misses the last object.
    misses: int = 0
    #: How many objects each answer to a request for commitment leaves out; None: it will answer later.
    reports: list[int | None] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    #: How often it can't be asked for commitment.
    away: int = 0

    def deliver(self, parcel: Parcel, *, now: datetime) -> Receipt:
        objects: list[Outgoing] = []
        choice = choose(parcel.wanted, proposed(parcel.wanted))
        for kind in choice.kinds:
            objects += parcel.fetch((kind,))
        self.deliveries.append([each.sop_instance_uid for each in objects])
        self.kinds += [each.kind for each in objects]
        return Receipt(
            destination=self.name,
            sent_at=now,
            sop_instance_uids=tuple(self.deliveries[-1]),
            sop_class_uid=objects[0].sop_class_uid if objects else "",
            status="0x0000",
            left_out=choice.left_out,
        )

    def check(self) -> str:
        return "is there"

    def missing(self, study_instance_uid: str, objects: Sequence[Outgoing]) -> tuple[str, ...]:
        self.misses -= 1
        return (objects[-1].sop_instance_uid,) if self.misses >= 0 else ()

    def request_commitment(
        self, transaction_uid: str, objects: Sequence[Outgoing], *, patience_s: float
    ) -> CommitmentReport | None:
        self.asked.append(transaction_uid)
        if self.away:
            self.away -= 1
            raise Transient(Reason.PEER_UNREACHABLE)
        left_out = self.reports.pop(0)
        if left_out is None:
            return None
        uids = tuple(each.sop_instance_uid for each in objects)
        return CommitmentReport(transaction_uid=transaction_uid, committed=uids[left_out:], failed=())


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(render(PhantomRecipe(seed=5, slices=6, rows=96, voxel_mm=3.0)), tmp_path_factory.mktemp("head"))


@pytest.fixture
def archive() -> Archive:
    return Archive()


class Desk:
    """A house in which one study was read, and who delivers it."""

    def __init__(self, house: House, reader: Reader, head: list[Path]) -> None:
        self.house = house
        facts = [read_facts(path) for path in head]
        self.study_uid = facts[0].study_instance_uid
        association_id = house.open_association()
        for path, each in zip(head, facts, strict=True):
            house.arrive(each, association_id=association_id, content=path.read_bytes())
        house.end_association(association_id)
        house.wait(60)
        house.close()
        self.scan = load_scan([SliceSource(path=path) for path in head])
        self.reader = reader

    def record(self, rule: ReadingRule) -> Record:
        finding = conclude(self.reader.read(self.scan), rule)
        return record_of(finding, rule=rule, state="analysing", skipped=(), software_version="1")

    def read(self, *routes: Route, rule: ReadingRule = URGENT) -> None:
        """The study is read, and owed to whom it is to be told."""
        record = self.record(rule)
        names = [each.sender.name for each in routes if each.wants(record)]
        self.house.analyse(*names, record=record)

    def deliver(self, *routes: Route) -> Job:
        """The next delivery; one that fails for now is tried again in a minute."""
        job = self.house.claim(kinds=(JobKind.PUBLISH,))
        try:
            courier(self.house, *routes).publish(job)
        except Transient as error:
            self.house.studies.failed(
                job,
                error.reason,
                error.detail,
                retry_at=self.house.now + timedelta(minutes=1),
                now=self.house.now,
            )
            self.house.wait(60)
            raise
        return job

    def receipt(self) -> Receipt:
        (delivery,) = self.house.summary(self.study_uid).deliveries
        return delivery.receipt

    def delivery_state(self) -> JobState:
        return self.house.summary(self.study_uid).jobs[-1].state


@pytest.fixture
def desk(house: House, reader: Reader, head: list[Path]) -> Desk:
    return Desk(house, reader, head)


def test_every_kind_goes_the_report_first(desk: Desk, archive: Archive) -> None:
    pacs = route(archive, SC, GSPS, KO, SR)
    desk.read(pacs)
    desk.deliver(pacs)
    assert archive.kinds == [SR, SC, GSPS, KO]
    assert list(desk.receipt().sop_instance_uids) == archive.deliveries[0]
    assert desk.house.summary(desk.study_uid).state is StudyState.REPORTED


def test_there_is_no_heat_of_what_was_not_called_and_that_is_no_lack(desk: Desk, archive: Archive) -> None:
    pacs = route(archive, SR, HEAT)
    desk.read(pacs, rule=ROUTINE)
    desk.deliver(pacs)
    assert archive.kinds == [SR]
    assert desk.receipt().left_out == ()


def test_a_companion_that_can_not_be_made_is_said_and_keeps_nothing_back(
    desk: Desk, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> Sequence[object]:
        raise Permanent(Reason.REPORT_INVALID, "slices rescale differently")

    monkeypatch.setattr("ichd.pipeline.rendering.MAKERS", {**MAKERS, GSPS: refuse})
    pacs = route(archive, SR, GSPS, KO)
    desk.read(pacs)
    desk.deliver(pacs)
    assert archive.kinds == [SR, KO]
    assert desk.receipt().left_out == (GSPS,)
    assert desk.delivery_state() is JobState.DONE


def test_a_report_that_can_not_be_made_is_an_error(
    desk: Desk, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> Sequence[object]:
        raise Permanent(Reason.REPORT_INVALID)

    monkeypatch.setattr("ichd.pipeline.rendering.MAKERS", {**MAKERS, SR: refuse})
    pacs = route(archive, SR, KO)
    desk.read(pacs)
    with pytest.raises(Permanent):
        desk.deliver(pacs)
    assert archive.deliveries == []


@pytest.mark.parametrize(("rule", "told"), [(URGENT, True), (ROUTINE, False)])
def test_only_what_is_urgent_is_asked_to_be_read_first(
    desk: Desk, archive: Archive, rule: ReadingRule, *, told: bool
) -> None:
    ris = route(archive, ObjectKind.PRIORITY)
    record = desk.record(rule)
    assert (record["triage"] == Triage.URGENT) is told
    assert ris.wants(record) == ((ObjectKind.PRIORITY,) if told else ())


@pytest.mark.parametrize("not_analysed", [True, False])
def test_who_wants_to_hears_of_a_study_that_was_not_analysed(
    desk: Desk, archive: Archive, *, not_analysed: bool
) -> None:
    pacs = route(archive, SR, KO, SC, not_analysed=not_analysed)
    record = unread_record(
        study_uid=desk.study_uid,
        series_uid=None,
        state=StudyState.NOT_ANALYSED,
        reason=Reason.NOT_A_HEAD,
        detail="",
        skipped=(),
        software_version="1",
    )
    job = desk.house.claim(kinds=(JobKind.ANALYSE,))
    desk.house.studies.begin_analysis(job, now=desk.house.now)
    names = [archive.name] if pacs.wants(record) else []
    desk.house.studies.not_analysed(job, record=record, destinations=names, now=desk.house.now)
    if not_analysed:
        desk.deliver(pacs)
        assert archive.kinds == [SR]
    assert desk.house.try_claim(kinds=(JobKind.PUBLISH,)) is None
    assert desk.house.summary(desk.study_uid).state is StudyState.NOT_ANALYSED


def test_read_back_waits_until_everything_is_listed(desk: Desk, archive: Archive) -> None:
    pacs = route(archive, SR, KO, confirm=Confirm.READ_BACK)
    archive.misses = 1
    desk.read(pacs)
    desk.deliver(pacs)
    assert (desk.receipt().proof, desk.delivery_state()) == (Proof.SENT, JobState.QUEUED)
    desk.house.wait(2)
    with pytest.raises(Transient) as early:
        desk.deliver(pacs)
    assert early.value.reason is Reason.NOT_CONFIRMED
    desk.deliver(pacs)
    assert (desk.receipt().proof, desk.delivery_state()) == (Proof.READ_BACK, JobState.DONE)
    assert len(archive.deliveries) == 1, "it was only slow"


def test_what_stays_missing_is_sent_again_under_the_same_names(desk: Desk, archive: Archive) -> None:
    pacs = route(archive, SR, KO, confirm=Confirm.READ_BACK)
    archive.misses = 3
    desk.read(pacs)
    desk.deliver(pacs)
    for _ in range(3):
        desk.house.wait(2)
        with pytest.raises(Transient):
            desk.deliver(pacs)
    assert archive.deliveries[0] == archive.deliveries[1]
    desk.deliver(pacs)
    assert desk.receipt().proof is Proof.READ_BACK


def test_a_commitment_that_comes_later_is_waited_for(desk: Desk, archive: Archive) -> None:
    pacs = route(archive, SR, confirm=Confirm.COMMITMENT, ae_title="PACS")
    archive.reports = [None]
    desk.read(pacs)
    desk.deliver(pacs)
    for _ in range(2):
        desk.house.wait(2)
        with pytest.raises(Transient) as early:
            desk.deliver(pacs)
        assert early.value.reason is Reason.NOT_CONFIRMED
    assert len(archive.asked) == 1, "asked once"
    assert not Promises(desk.house.engine).answer(archive.asked[0], "ELSE", [], desk.house.now), "who was not asked"
    assert Promises(desk.house.engine).answer(archive.asked[0], "PACS", archive.deliveries[0], desk.house.now)
    desk.deliver(pacs)
    assert (desk.receipt().proof, desk.delivery_state()) == (Proof.COMMITTED, JobState.DONE)


def test_what_is_not_committed_to_is_sent_and_asked_for_again(desk: Desk, archive: Archive) -> None:
    pacs = route(archive, SR, confirm=Confirm.COMMITMENT, ae_title="PACS")
    archive.reports = [1, 0]
    desk.read(pacs)
    desk.deliver(pacs)
    desk.house.wait(2)
    with pytest.raises(Transient) as refused:
        desk.deliver(pacs)
    assert refused.value.reason is Reason.NOT_COMMITTED
    desk.deliver(pacs)
    assert desk.receipt().proof is Proof.COMMITTED
    assert (len(archive.deliveries), len(set(archive.asked))) == (2, 2)


def test_a_later_revision_does_not_wait_for_the_proof_of_an_earlier_one(desk: Desk, archive: Archive) -> None:
    pacs = route(archive, SR, confirm=Confirm.READ_BACK)
    archive.misses = 100
    desk.read(pacs)
    desk.deliver(pacs)
    job = desk.house.summary(desk.study_uid).jobs[-1]
    assert job.state is JobState.QUEUED
    desk.house.wait(1)
    desk.house.receive(9, study=desk.study_uid)
    desk.house.close()
    desk.read(pacs)
    assert desk.deliver(pacs).revision == 2


def test_a_question_that_did_not_go_out_is_asked_again(desk: Desk, archive: Archive) -> None:
    pacs = route(archive, SR, confirm=Confirm.COMMITMENT, ae_title="PACS")
    archive.away, archive.reports = 1, [0]
    desk.read(pacs)
    desk.deliver(pacs)
    desk.house.wait(2)
    with pytest.raises(Transient) as away:
        desk.deliver(pacs)
    assert away.value.reason is Reason.PEER_UNREACHABLE
    desk.deliver(pacs)
    assert desk.receipt().proof is Proof.COMMITTED
