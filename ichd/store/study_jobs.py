"""What a study's moves mean for its jobs, and a dead job for its study; the caller holds the study's row."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ichd.domain.finding import Triage
from ichd.domain.job import JobKind
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState, move_study
from ichd.store.dispatches import audit_dead_delivery
from ichd.store.queue import Queue
from ichd.store.study_row import fail
from ichd.store.tables import FindingRow, StudyRow


def make_ready(session: Session, queue: Queue, study: StudyRow, *, now: datetime) -> None:
    """The study is to be read, whatever came of it before."""
    study.state = move_study(study.state, StudyState.READY)
    study.ready_at = now
    study.started_at = study.finished_at = study.reason = None
    study.detail = ""
    # A study that was urgent before its late slices came is read again before others.
    newest = select(FindingRow.triage).where(FindingRow.study_id == study.id).order_by(FindingRow.revision.desc())
    queue.enqueue(
        session,
        kind=JobKind.ANALYSE,
        study_id=study.id,
        revision=study.revision,
        triage=session.scalars(newest.limit(1)).one_or_none(),
        now=now,
    )


def owe_deliveries(
    session: Session,
    queue: Queue,
    study: StudyRow,
    destinations: Sequence[str],
    *,
    triage: Triage | None,
    now: datetime,
) -> None:
    """Each destination is to be told of the study's revision; `triage` as in `Queue.enqueue`."""
    for destination in destinations:
        queue.enqueue(
            session,
            kind=JobKind.PUBLISH,
            study_id=study.id,
            revision=study.revision,
            triage=triage,
            destination=destination,
            now=now,
        )


def bury_study(
    session: Session, study: StudyRow, destination: str | None, reason: Reason, detail: str, *, now: datetime
) -> None:
    """A job of the newest revision is dead, and its study failed; one that was not analysed stays that."""
    if study.state is not StudyState.NOT_ANALYSED:
        fail(study, reason, detail, now)
    if destination is not None:
        audit_dead_delivery(session, destination, reason, study_uid=study.study_instance_uid, now=now)
