"""A database that holds a study in every state, made by the store's own verbs as listener and worker would use them.

Also a program: `python -m tests.web.worklist_of_all_states FOLDER` fills FOLDER and serves the page on it, to look at.
"""

import math
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ichd.domain.completeness import CompletenessPolicy
from ichd.domain.delivery import Receipt
from ichd.domain.finding import CLASSES, ModelIdentity, Prediction, ReadingRule, SlicePrediction, Threshold, conclude
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.domain.record import Record, record_of, unread_record
from ichd.domain.study import CT_IMAGE_STORAGE, InstanceFacts, SkippedSeries
from ichd.store.arrivals import Arrivals
from ichd.store.deliveries import Deliveries
from ichd.store.engine import migrate, open_database
from ichd.store.ownership import claim_spool
from ichd.store.queue import Job, Queue
from ichd.store.spool import Spool
from ichd.store.studies import Studies

ROOT = "1.2.826.0.1.3680043.10.1553"
STATEMENT = "trained on synthetic data: demonstration only"
DEMO = ModelIdentity(
    name="phantom-demo",
    version="1",
    weights_sha256="3f9c" * 16,
    bundle_sha256="3f9d" * 16,
    statement=STATEMENT,
    demonstration=True,
)
RULE = ReadingRule(
    thresholds={name: Threshold(present_from=0.6, absent_below=0.4) for name in CLASSES}, max_key_slices=3
)
_SR = "1.2.840.10008.5.1.4.1.1.88.34"
_LEASE_S = 60.0


@dataclass
class Hospital:
    """A store with a clock that the caller turns."""

    folder: Path
    now: datetime

    def __post_init__(self) -> None:
        self.url = f"sqlite:///{self.folder / 'ichd.db'}"
        migrate(self.url)
        self.engine = open_database(self.url)
        self.spool = Spool(self.folder / "spool")
        claim_spool(self.engine, self.spool)
        self.studies = Studies(self.engine, self.spool)
        self.deliveries = Deliveries(self.engine, self.spool)
        self.arrivals = Arrivals(self.engine)
        self.queue = Queue(self.engine)

    def receive(
        self, number: int, *, slices: int, series: int = 1, first: int = 0, description: str = "Head 5.0 H31s"
    ) -> str:
        """Images of study `number` arrive; returns its UID."""
        study_uid = f"{ROOT}.{number}.20261124.{number * 7919}"
        association = self.arrivals.open_association(calling_ae_title="CT1", address="127.0.0.1", now=self.now)
        for which in range(1, series + 1):
            for index in range(first, first + (slices if which == 1 else 2)):
                facts = InstanceFacts(
                    study_instance_uid=study_uid,
                    series_instance_uid=f"{study_uid}.{which}",
                    sop_instance_uid=f"{study_uid}.{which}.{index + 1}",
                    sop_class_uid=CT_IMAGE_STORAGE,
                    transfer_syntax_uid="1.2.840.10008.1.2.1",
                    modality="CT",
                    series_number=which,
                    series_description=description if which == 1 else "Topogram",
                    accession_number=f"A{20261100 + number}",
                    study_datetime="20261124081500",
                )
                stored = self.spool.write([facts.sop_instance_uid.encode()])
                self.arrivals.record(facts, stored, association_id=association, now=self.now)
        self.arrivals.end_association(association, released=True, now=self.now)
        return study_uid

    def close(self) -> None:
        """Whatever is quiet becomes ready."""
        self.now += timedelta(seconds=3)
        self.studies.close_complete(CompletenessPolicy(), now=self.now)

    def begin(self) -> Job:
        """A worker claims the next reading."""
        job = self.claim()
        self.studies.begin_analysis(job, now=self.now)
        return job

    def claim(self) -> Job:
        """A worker claims whatever is next."""
        job = self.queue.claim(owner="worker/1/a", lease_s=_LEASE_S, now=self.now)
        assert job is not None
        return job

    def read(
        self,
        study_uid: str,
        scan: Mapping[str, float],
        *,
        slices: int,
        destinations: Sequence[str] = ("pacs",),
        notes: tuple[str, ...] = (),
    ) -> Record:
        """Close, claim and read: the finding of `record` is kept, and its deliveries are queued."""
        self.close()
        job = self.begin()
        self.now += timedelta(seconds=1.4)
        record = record_of_scan(study_uid, scan, slices=slices, notes=notes)
        self.studies.finish_analysis(job, record=record, destinations=list(destinations), now=self.now)
        return record

    def deliver(self) -> None:
        """The next report arrives."""
        job = self.claim()
        self.now += timedelta(seconds=0.3)
        assert job.destination is not None
        receipt = Receipt(
            destination=job.destination,
            sent_at=self.now,
            sop_instance_uids=(f"2.25.{job.id}",),
            sop_class_uid=_SR,
            status="0x0000",
        )
        self.deliveries.delivered(job, receipt, now=self.now)

    def fail(self, reason: Reason, detail: str, *, again: bool) -> None:
        """The next job goes wrong."""
        job = self.claim()
        retry_at = self.now + timedelta(minutes=20) if again else None
        self.studies.failed(job, reason, detail, retry_at=retry_at, now=self.now)

    def refuse_to_read(self, study_uid: str, reason: Reason, detail: str, *, series_uid: str = "") -> None:
        """Close, claim, and find nothing to read."""
        self.close()
        job = self.begin()
        series_uid = series_uid or f"{study_uid}.1"
        skipped = [SkippedSeries(series_instance_uid=series_uid, reason=reason, detail=detail)]
        record = unread_record(
            study_uid=study_uid,
            series_uid=None,
            state="not_analysed",
            reason=Reason.NO_READABLE_SERIES,
            detail="1 series",
            software_version="1",
            skipped=skipped,
        )
        self.studies.not_analysed(job, record=record, now=self.now)


def record_of_scan(study_uid: str, scan: Mapping[str, float], *, slices: int, notes: tuple[str, ...] = ()) -> Record:
    """A record whose scan level is `scan`: each class peaks somewhere in the stack."""
    rows = []
    for index in range(slices):
        p = []
        for position, name in enumerate(CLASSES):
            peak = slices * (0.5 if name == "any" else 0.35 + 0.07 * position)
            top = round(peak)
            p.append(scan.get(name, 0.02) * math.exp(-(((index - top) / (slices / 5)) ** 2)))
        rows.append(
            SlicePrediction(
                sop_instance_uid=f"{study_uid}.1.{index + 1}",
                sop_class_uid=CT_IMAGE_STORAGE,
                z_mm=5.0 * index,
                probabilities=tuple(p),
            )
        )
    prediction = Prediction(
        study_instance_uid=study_uid,
        series_instance_uid=f"{study_uid}.1",
        model=DEMO,
        slices=tuple(rows),
        timings_ms={"load": 312.0, "windows": 97.0, "embed": 842.0, "classify": 11.0},
        notes=tuple(Note(remark=Remark.UNCODED, detail=note) for note in notes),
    )
    skipped = [SkippedSeries(series_instance_uid=f"{study_uid}.2", reason=Reason.LOCALIZER, detail="2 of 2 images")]
    return record_of(
        conclude(prediction, RULE), rule=RULE, state="analysing", skipped=skipped, software_version="0.1.0"
    )


def fill(folder: Path, now: datetime) -> dict[str, str]:
    """Twelve studies, the newest a few seconds old; returns their UIDs by what happened to them."""
    hospital = Hospital(folder=folder, now=now)
    uids: dict[str, str] = {}

    def arrive(name: str, minutes: float, *, slices: int, series: int = 1) -> str:
        hospital.now = now - timedelta(minutes=minutes)
        uids[name] = hospital.receive(len(uids) + 1, slices=slices, series=series)
        return uids[name]

    hospital.read(arrive("old urgent", 60 * 31, slices=12), {"any": 0.93, "epidural": 0.81}, slices=12)
    hospital.deliver()
    hospital.read(arrive("routine", 412, slices=12, series=2), {"any": 0.03, "subdural": 0.021}, slices=12)
    hospital.deliver()
    hospital.refuse_to_read(arrive("chest", 245, slices=12), Reason.NOT_A_HEAD, "no skull in 12 of 12 slices")
    hospital.read(arrive("delivery failed", 171, slices=12, series=2), {"any": 0.88, "subarachnoid": 0.79}, slices=12)
    hospital.fail(Reason.NO_ACCEPTED_CONTEXT, "PACS at 127.0.0.1:104 took none of 3 contexts", again=False)
    hospital.read(
        arrive("two receipts", 96, slices=14, series=2),
        {"any": 0.97, "subdural": 0.95, "intraparenchymal": 0.44},
        slices=14,
        destinations=("pacs", "archive"),
        notes=("the gantry was <tilted> by 12.0°",),
    )
    hospital.deliver()
    hospital.deliver()
    hospital.read(arrive("indeterminate", 58, slices=12), {"any": 0.52, "subarachnoid": 0.47}, slices=12)
    hospital.deliver()
    arrive("reading failed", 41, slices=12)
    hospital.close()
    damaged = hospital.begin()
    hospital.studies.failed(damaged, Reason.FILE_DAMAGED, "1 of 12 files", retry_at=None, now=hospital.now)
    hospital.read(arrive("no destination", 22, slices=16), {"any": 0.008}, slices=16, destinations=())
    # Two reports of one study: one is there, the other waits for its receiver.
    hospital.read(
        arrive("peer away", 9, slices=14),
        {"any": 0.991, "intraparenchymal": 0.986, "intraventricular": 0.71},
        slices=14,
        destinations=("pacs", "ris-gateway"),
    )
    hospital.deliver()
    hospital.fail(Reason.PEER_UNREACHABLE, "ris-gateway at 10.0.0.7:104: connection refused", again=True)
    hospital.read(arrive("late slice", 5, slices=12), {"any": 0.76, "epidural": 0.73}, slices=12)
    hospital.deliver()
    hospital.now = now - timedelta(minutes=1)
    hospital.receive(len(uids), slices=2, first=12)
    hospital.close()
    hospital.begin()
    arrive("ready", 0.4, slices=12)
    hospital.close()
    arrive("receiving", 0.02, slices=11)
    hospital.arrivals.refuse(
        Reason.WRONG_MODALITY,
        detail="Modality MR",
        calling_ae_title="MR2",
        address="10.0.0.9",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
        sop_instance_uid="1.2.3.4",
        now=now - timedelta(minutes=13),
    )
    hospital.engine.dispose()
    return uids


def _serve(folder: Path, port: int, bundle: str) -> None:
    from ichd.app.web import run_web
    from ichd.settings import DatabaseSettings, ModelSettings, Settings, SpoolSettings, WebSettings
    from ichd.telemetry import configure_logging

    configure_logging("info")
    folder.mkdir(parents=True, exist_ok=True)
    fill(folder, datetime.now(UTC))
    settings = Settings(
        model=ModelSettings(bundle=bundle),
        database=DatabaseSettings(url=f"sqlite:///{folder / 'ichd.db'}"),
        spool=SpoolSettings(url=str(folder / "spool")),
        web=WebSettings(port=port),
    )
    run_web(settings, threading.Event())


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
