"""A store to play with: studies arrive, workers claim, time passes when the test says so."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from ichd.domain.completeness import CompletenessPolicy
from ichd.domain.delivery import Receipt
from ichd.domain.job import JobKind
from ichd.domain.reason import Reason
from ichd.domain.record import Record, unread_record
from ichd.domain.study import CT_IMAGE_STORAGE, InstanceFacts, StudyState
from ichd.store.arrivals import ArrivalKind, Arrivals
from ichd.store.deliveries import Deliveries
from ichd.store.listing import StudySummary
from ichd.store.queue import Job, Queue
from ichd.store.spool import Spool
from ichd.store.studies import Studies

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
LEASE_S = 15.0
STUDY = "1.2.840.1"
SERIES = f"{STUDY}.1"
POLICY = CompletenessPolicy()


def image(number: int, *, study: str = STUDY, series: str | None = None) -> InstanceFacts:
    """Facts of one axial slice."""
    series = series or f"{study}.1"
    return InstanceFacts(
        study_instance_uid=study,
        series_instance_uid=series,
        sop_instance_uid=f"{series}.{number}",
        sop_class_uid=CT_IMAGE_STORAGE,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
        image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
        rows=512,
        columns=512,
        image_position=(-125.0, -125.0, 5.0 * number),
        image_orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        pixel_spacing=(0.488281, 0.488281),
        series_number=2,
        series_description="HEAD 5mm",
        accession_number="A-17",
    )


def read_record(*, triage: str = "urgent", any_p: float = 0.93, series_uid: str = SERIES) -> Record:
    """The part of a finding's record that the store looks at, and a score to recognise it by."""
    return {
        "study_uid": STUDY,
        "series_uid": series_uid,
        "state": "analysing",
        "model": {"name": "test", "version": "1", "weights_sha256": "ab" * 32, "bundle_sha256": "cd" * 32},
        "scan": {"any": any_p},
        "triage": triage,
        "slices": [{"sop_uid": f"{series_uid}.1", "p": {"any": 1 / 3}}],
        "skipped_series": [{"series_uid": f"{STUDY}.2", "reason": "localizer", "detail": "2 of 2 images"}],
    }


def unread() -> Record:
    """The record of a study in which nothing can be read."""
    return unread_record(
        study_uid=STUDY,
        series_uid=None,
        state=StudyState.NOT_ANALYSED,
        reason=Reason.NO_READABLE_SERIES,
        detail="1 series",
        software_version="1",
        skipped=(),
    )


@dataclass(kw_only=True)
class House:
    """One database, one spool, one clock."""

    engine: Engine
    spool: Spool
    arrivals: Arrivals
    queue: Queue
    studies: Studies
    deliveries: Deliveries
    now: datetime = field(default=NOON)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def open_association(self, *, listener: str = "here:11112") -> int:
        return self.arrivals.open_association(
            calling_ae_title="CT1", address="192.0.2.1", now=self.now, listener=listener
        )

    def end_association(self, association_id: int, *, released: bool = True, refused: int = 0) -> None:
        self.arrivals.end_association(association_id, released=released, refused=refused, now=self.now)

    def arrive(self, facts: InstanceFacts, *, association_id: int, content: bytes | None = None) -> ArrivalKind:
        stored = self.spool.write([content or facts.sop_instance_uid.encode()])
        return self.arrivals.record(facts, stored, association_id=association_id, now=self.now)

    def receive(self, *numbers: int, study: str = STUDY) -> None:
        """Slices arrive in one association that is then released."""
        association_id = self.open_association()
        for number in numbers:
            self.arrive(image(number, study=study), association_id=association_id)
        self.end_association(association_id)

    def close(self) -> list[str]:
        """The quiet period passes."""
        self.wait(POLICY.quiet_period_s)
        return self.studies.close_complete(POLICY, now=self.now)

    def claim(self, owner: str = "worker-a", kinds: Collection[JobKind] = tuple(JobKind)) -> Job:
        """The next job, which must be there."""
        job = self.try_claim(owner, kinds)
        assert job is not None
        return job

    def try_claim(self, owner: str = "worker-a", kinds: Collection[JobKind] = tuple(JobKind)) -> Job | None:
        return self.queue.claim(owner=owner, lease_s=LEASE_S, now=self.now, kinds=kinds)

    def ready(self, *numbers: int, study: str = STUDY) -> None:
        self.receive(*(numbers or (1, 2)), study=study)
        assert self.close() == [study]

    def analyse(self, *destinations: str, record: Record | None = None) -> Job:
        """The next reading, from claim to finding."""
        job = self.claim(kinds=(JobKind.ANALYSE,))
        self.studies.begin_analysis(job, now=self.now)
        self.studies.finish_analysis(job, record=record or read_record(), destinations=destinations, now=self.now)
        return job

    def receipt(self, job: Job) -> Receipt:
        assert job.destination is not None
        return Receipt(
            destination=job.destination,
            sent_at=self.now,
            sop_instance_uids=(f"2.25.{job.revision}",),
            sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
            status="0x0000",
        )

    def deliver(self) -> Job:
        """The next delivery, from claim to receipt."""
        job = self.claim(kinds=(JobKind.PUBLISH,))
        self.deliveries.delivered(job, self.receipt(job), now=self.now)
        return job

    def summary(self, study: str = STUDY) -> StudySummary:
        return self.studies.detail(study).summary


def house_on(engine: Engine, spool: Spool, *, now: datetime = NOON) -> House:
    """The store's rooms around a database with the newest schema and a spool."""
    return House(
        engine=engine,
        spool=spool,
        arrivals=Arrivals(engine),
        queue=Queue(engine),
        studies=Studies(engine, spool),
        deliveries=Deliveries(engine, spool),
        now=now,
    )
