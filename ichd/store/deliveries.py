"""What a courier asks of the database: what to send, and what came of it."""

from datetime import datetime
from functools import partial

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ichd.domain.delivery import Receipt
from ichd.domain.errors import LeaseLost
from ichd.domain.study import StudyState
from ichd.store.contents import (
    DeliveryWork,
    Predecessor,
    ReadImages,
    bringing,
    files_of,
    images_of,
    predecessor_of,
    select_finding,
    stored_of,
)
from ichd.store.destinations import note_success
from ichd.store.dispatches import audit_receipt
from ichd.store.job_row import Job, held, supersede
from ichd.store.queue import Queue
from ichd.store.receipts import fill_receipt, receipt_of
from ichd.store.spool import Spool
from ichd.store.study_row import end, locked, undone
from ichd.store.tables import ReceiptRow, StudyRow
from ichd.store.transaction import reading, writing

__all__ = ["Deliveries", "DeliveryWork", "Predecessor"]


class Deliveries:
    """Every method raises Transient where the database fails, and LeaseLost where it takes a job that was lost."""

    def __init__(self, engine: Engine, spool: Spool) -> None:
        self._engine = engine
        self._spool = spool
        self._queue = Queue(engine)

    def begin(self, job: Job, *, now: datetime) -> DeliveryWork:
        """What to send, or what was sent and is to be proved; from now on the report counts as perhaps delivered.

        Raises:
            LeaseLost: the lease was lost, or a late slice made a newer revision, whose report no longer knows of this.
        """
        if job.destination is None:
            raise ValueError(f"job {job.id} is no delivery")
        with writing(self._engine) as session:
            study = locked(session, job.study_id)
            row = held(session, job)
            row.begun = True
            newest = study.revision
            if job.revision != newest:
                # Not left to its lease: the newer revision's report would wait for that.
                supersede(row, now=now)
            sent = session.scalars(select(ReceiptRow).where(ReceiptRow.job_id == job.id)).one_or_none()
            row.unsettled += sent is None and job.revision == newest
        if job.revision != newest:
            raise LeaseLost(f"study {job.study_uid} has revision {newest} by now, this is {job.revision}")
        with reading(self._engine) as session:
            finding = session.scalars(select_finding(job.study_id, job.revision)).one()
            predecessor = predecessor_of(session, finding)
        return DeliveryWork(
            study_id=job.study_id,
            study_uid=job.study_uid,
            revision=job.revision,
            destination=job.destination,
            sent=None if sent is None else receipt_of(sent),
            record=finding.record,
            created_at=finding.created_at,
            predecessor=predecessor,
            images=partial(self._images, job.study_id, finding.record["series_uid"]),
        )

    def _images(self, study_id: int, series_uid: str | None) -> ReadImages:
        with reading(self._engine) as session:
            images = images_of(session, study_id, series_uid=series_uid)
        stored = stored_of(images)
        return ReadImages(files=files_of(images, self._spool), stored=stored, bring=bringing(stored, self._spool))

    def sent(self, job: Job, receipt: Receipt, *, look_at: datetime, now: datetime) -> None:
        """Keep a receipt that wants proof; the job comes again at `look_at`, with attempts and age counted anew.

        Raises:
            LeaseLost: the lease was lost; whoever holds the job sends the same object again, which changes nothing.
        """
        with writing(self._engine) as session:
            study = locked(session, job.study_id)
            _note_sent(session, study, job, receipt, now)
            self._queue.await_proof(session, job, look_at=look_at, now=now)

    def delivered(self, job: Job, receipt: Receipt, *, now: datetime) -> None:
        """Keep a receipt, or its proof; the study is reported once every destination of its revision is done.

        Raises:
            LeaseLost: the lease was lost; whoever holds the job sends the same object again, which changes nothing.
        """
        with writing(self._engine) as session:
            study = locked(session, job.study_id)
            self._queue.complete(session, job, now=now)
            _note_sent(session, study, job, receipt, now)
            session.flush()
            told_only = study.state is StudyState.NOT_ANALYSED
            if job.revision == study.revision and not told_only and not undone(session, study):
                end(study, StudyState.REPORTED, now)


def _note_sent(session: Session, study: StudyRow, job: Job, receipt: Receipt, now: datetime) -> None:
    """File the receipt of a job, or what is known of it by now."""
    known = session.scalars(select(ReceiptRow).where(ReceiptRow.job_id == job.id)).one_or_none()
    row = known or ReceiptRow(job_id=job.id, study_id=study.id, revision=job.revision, destination=receipt.destination)
    fill_receipt(row, receipt)
    # It answers, whether it took something or said that it has it.
    note_success(session, receipt.destination)
    if known is None:
        session.add(row)
        audit_receipt(session, receipt, study_uid=study.study_instance_uid, now=now)
