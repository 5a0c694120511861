"""What the pipeline asks of the database: each verb moves a study and its jobs together, in one transaction."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ichd.domain.audit import AuditEvent
from ichd.domain.completeness import CompletenessPolicy, weigh
from ichd.domain.errors import LeaseLost, UserError
from ichd.domain.finding import Triage
from ichd.domain.job import DEATHS_ALLOWED, JobKind, JobState, RetryPolicy
from ichd.domain.reason import Reason
from ichd.domain.record import Record
from ichd.domain.study import FINISHED, StudyState, move_study
from ichd.store.arrivals import Arrivals
from ichd.store.asker import Asker, tell_audit
from ichd.store.contents import (
    StudyFiles,
    bringing,
    files_of,
    images_of,
    last_sent_revision,
    stored_of,
    study_facts,
)
from ichd.store.deaths import bereave, exonerate
from ichd.store.destinations import note_failure
from ichd.store.evidence import EvidenceRoom
from ichd.store.forgetting import forget_old
from ichd.store.job_ends import revive, strand, stranded, supersede_earlier, withdraw
from ichd.store.job_row import Job, held
from ichd.store.listing import StudyDetail, StudySummary, study_detail, study_summaries
from ichd.store.queue import Queue
from ichd.store.spool import Spool
from ichd.store.study_jobs import bury_study, make_ready, owe_deliveries
from ichd.store.study_row import by_uid, end, known, locked, reopen, unbury
from ichd.store.tables import FindingRow, StudyRow
from ichd.store.transaction import reading, writing
from ichd.store.worklist import Worklist

#: States from which a person may have a study read again.
_FINISHED = frozenset({StudyState.REPORTED, StudyState.NOT_ANALYSED, StudyState.FAILED})


class Studies:
    """Every method raises Transient where the database fails, and LeaseLost where it takes a job that was lost."""

    def __init__(self, engine: Engine, spool: Spool) -> None:
        self._engine = engine
        self._spool = spool
        self._queue = Queue(engine)
        self._evidence = EvidenceRoom()
        self.worklist = Worklist(engine)

    def close_complete(self, policy: CompletenessPolicy, *, now: datetime) -> list[str]:
        """Make every study ready whose evidence says that it is complete, with its job; returns their UIDs.

        Called by one thread at a time.
        """
        with reading(self._engine) as session:
            receiving = session.scalars(select(StudyRow.id).where(StudyRow.state == StudyState.RECEIVING)).all()
            self._evidence.forget_others(receiving)
            evidence = self._evidence.gather(session, receiving, policy, now=now)
        closed = [self._close(study_id, policy, now) for study_id, e in evidence.items() if weigh(e, policy, now)]
        return [study_uid for study_uid in closed if study_uid is not None]

    def begin_analysis(self, job: Job, *, now: datetime) -> StudyFiles:
        """Move a ready study to `analysing` and say what it holds; a second attempt finds it there already."""
        with writing(self._engine) as session:
            study = locked(session, job.study_id)
            held(session, job).begun = True
            if study.state is not StudyState.ANALYSING:
                study.state = move_study(study.state, StudyState.ANALYSING)
                study.started_at = now
            images = images_of(session, study.id)
        stored = stored_of(images)
        return StudyFiles(
            facts=study_facts(job.study_uid, images),
            revision=job.revision,
            files=files_of(images, self._spool),
            stored=stored,
            bring=bringing(stored, self._spool),
            ready_at=study.ready_at or now,
            started_at=study.started_at or now,
        )

    def finish_analysis(self, job: Job, *, record: Record, destinations: Sequence[str], now: datetime) -> None:
        """Keep the finding and queue its deliveries; with no destination the study is reported at once.

        Raises:
            LeaseLost: the lease was lost, or a late slice made a newer revision; nothing is kept.
        """
        with writing(self._engine) as session:
            study = self._conclude(session, job, record, now)
            owe_deliveries(session, self._queue, study, destinations, triage=Triage(record["triage"]), now=now)
            if not destinations:
                end(study, StudyState.REPORTED, now)

    def not_analysed(self, job: Job, *, record: Record, destinations: Sequence[str] = (), now: datetime) -> None:
        """Keep the record of a study that can't be read (`ichd.domain.record.unread_record`), and end the study.

        `destinations` are told so; the study has ended whether they take it or not.

        Raises:
            LeaseLost: the lease was lost, or a late slice made a newer revision; nothing is kept.
        """
        with writing(self._engine) as session:
            study = self._conclude(session, job, record, now)
            end(study, StudyState.NOT_ANALYSED, now, reason=Reason(record["reason"]), detail=record["detail"])
            owe_deliveries(session, self._queue, study, destinations, triage=None, now=now)

    def failed(
        self,
        job: Job,
        reason: Reason,
        detail: str,
        *,
        retry_at: datetime | None,
        crashes_allowed: int | None = None,
        now: datetime,
    ) -> None:
        """End an attempt that went wrong; without `retry_at` the job is dead, and its study failed.

        With `crashes_allowed` it crashed, and is dead after so many crashes in a row, whatever it waited for before.

        Raises:
            LeaseLost: the lease was lost; the failure is no longer this worker's to report.
        """
        with writing(self._engine) as session:
            study = locked(session, job.study_id)
            if job.revision < study.revision:
                withdraw(session, job, reason, now=now)
            elif (
                self._queue.fail(
                    session, job, reason, detail, retry_at=retry_at, crashes_allowed=crashes_allowed, now=now
                )
                is JobState.DEAD
            ):
                bury_study(session, study, job.destination, reason, detail, now=now)
            if job.destination is not None:
                note_failure(session, job.destination, reason, now=now)

    def reap(self, *, now: datetime, retry: RetryPolicy, deaths_allowed: Mapping[JobKind, int] = DEATHS_ALLOWED) -> int:
        """Take jobs from dead workers; one that outlived as many in a row as its kind may is dead. Returns how many."""
        reaped = 0
        for job_id, study_id, destination in self._queue.expired(now=now):
            allowed = deaths_allowed[JobKind.ANALYSE if destination is None else JobKind.PUBLISH]
            with writing(self._engine) as session:
                study = locked(session, study_id)
                state = bereave(session, job_id, revision=study.revision, retry=retry, deaths_allowed=allowed, now=now)
                if state is JobState.DEAD:
                    bury_study(session, study, destination, Reason.WORKER_DIED, f"{allowed} times", now=now)
            reaped += state is not None
        return reaped

    def exonerate(self, job: Job, *, now: datetime) -> bool:
        """Hear the owner of a lost lease, who lives: its death is taken back, and what was buried for it comes again.

        So it is partitions that are counted out, and only the deaths of a poison study remain. True where one was.
        """
        with writing(self._engine) as session:
            study = known(session, job.study_id)
            if study is None:
                return False
            state = exonerate(session, job, revision=study.revision, now=now)
            if state is JobState.QUEUED:
                unbury(session, study, at_reading=job.kind is JobKind.ANALYSE)
        return state is not None

    def strand(self, destinations: Collection[str], *, now: datetime) -> int:
        """End deliveries to others than these that no other worker takes either; returns how many."""
        with reading(self._engine) as session:
            lost = stranded(session, destinations, now=now)
        for job_id, study_id, destination in lost:
            with writing(self._engine) as session:
                study = locked(session, study_id)
                detail = f"destination {destination}"
                if strand(session, job_id, detail, revision=study.revision, now=now) is JobState.DEAD:
                    bury_study(session, study, destination, Reason.DESTINATION_UNKNOWN, detail, now=now)
        return len(lost)

    def retry(self, study_uid: str, *, now: datetime, asker: Asker | None = None) -> int:
        """Make a study's dead jobs, and those that wait for a retry, due now; returns how many.

        The audit trail names the asker, where there is one.

        Raises:
            UserError: the study is unknown, or has nothing to retry.
        """
        with writing(self._engine) as session:
            study = by_uid(session, study_uid)
            kinds = revive(session, study_id=study.id, revision=study.revision, now=now)
            if not kinds:
                raise UserError(f"study {study_uid} is {study.state} and has nothing to retry; see `ichd status`")
            if study.state is StudyState.FAILED:
                reopen(study, at_reading=JobKind.ANALYSE in kinds)
            if asker is not None:
                tell_audit(session, asker, AuditEvent.STUDY_RETRIED, study_uid, now=now, jobs=len(kinds))
        return len(kinds)

    def reprocess(self, study_uid: str, *, now: datetime, asker: Asker | None = None) -> None:
        """Have a finished study read again, as a new revision.

        The audit trail names the asker, where there is one.

        Raises:
            UserError: the study is unknown, not finished, or its images were dropped.
        """
        with writing(self._engine) as session:
            study = by_uid(session, study_uid)
            if study.state not in FINISHED:
                raise UserError(f"study {study_uid} is still {study.state}; wait until it is finished")
            if study.images_dropped_at is not None:
                day = study.images_dropped_at.strftime("%Y-%m-%d")
                raise UserError(f"the images of study {study_uid} were dropped on {day}; send it again to have it read")
            study.revision += 1
            supersede_earlier(session, study_id=study.id, revision=study.revision, now=now)
            make_ready(session, self._queue, study, now=now)
            if asker is not None:
                tell_audit(session, asker, AuditEvent.STUDY_REPROCESSED, study_uid, now=now, revision=study.revision)

    def sweep_spool(self, *, older_than: timedelta, now: datetime) -> int:
        """Tidy up what a death in the middle of an arrival, or of retention, left in the spool (see `Spool.sweep`).

        Returns how many files.
        """
        arrivals = Arrivals(self._engine)
        return self._spool.sweep(
            known=arrivals.known_paths, dropped=arrivals.dropped_paths, older_than=older_than, now=now
        )

    def forget_old(self, *, before: datetime) -> int:
        """Remove what was said and asked and serves nobody any more (see `forgetting.forget_old`); returns how much."""
        return forget_old(self._engine, before=before)

    def summaries(self, *, limit: int = 50, state: StudyState | None = None) -> list[StudySummary]:
        """The studies that arrived last, newest first."""
        return study_summaries(self._engine, limit=limit, state=state)

    def detail(self, study_uid: str) -> StudyDetail:
        """All that is known of one study.

        Raises:
            UserError: the study is unknown.
        """
        return study_detail(self._engine, study_uid)

    def _close(self, study_id: int, policy: CompletenessPolicy, now: datetime) -> str | None:
        """Close one study, unless an image or an association came in since its evidence was read."""
        with writing(self._engine) as session:
            study = locked(session, study_id)
            if study.state is not StudyState.RECEIVING:
                return None
            evidence = self._evidence.gather(session, [study.id], policy, now=now)
            verdict = weigh(evidence[study.id], policy, now)
            if verdict is None:
                return None
            study.closing, study.closing_detail = verdict.closing, verdict.detail
            make_ready(session, self._queue, study, now=now)
            return study.study_instance_uid

    def _conclude(self, session: Session, job: Job, record: Record, now: datetime) -> StudyRow:
        """End an analyse job with its record."""
        study = locked(session, job.study_id)
        self._queue.complete(session, job, now=now)
        if job.revision != study.revision:
            raise LeaseLost(f"study {job.study_uid} has revision {study.revision} by now, this is {job.revision}")
        if _is_news(record):
            study.triage = Triage(record["triage"]) if record["triage"] else None
        session.add(
            FindingRow(
                study_id=study.id,
                revision=study.revision,
                predecessor_revision=last_sent_revision(session, study.id),
                created_at=now,
                triage=Triage(record["triage"]) if record["triage"] else None,
                scan=record["scan"],
                record=record,
            )
        )
        return study


def _is_news(record: Record) -> bool:
    """Whether it says anything of the patient: that the images were dropped does not, and what was found stands."""
    return bool(record["triage"]) or record.get("reason") != Reason.IMAGES_DROPPED
