"""A study's row: found, locked, and brought to an end."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ichd.domain.errors import LeaseLost, UserError
from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState, move_study
from ichd.store.tables import JobRow, StudyRow


def locked(session: Session, study_id: int) -> StudyRow:
    """The study's row, locked until the end of the transaction.

    Raises:
        LeaseLost: the study was forgotten, with its jobs.
    """
    study = known(session, study_id)
    if study is None:
        raise LeaseLost("the study was forgotten, and its jobs with it")
    return study


def known(session: Session, study_id: int) -> StudyRow | None:
    """The same; None where the study was forgotten meanwhile."""
    return session.get(StudyRow, study_id, with_for_update=True)


def by_uid(session: Session, study_uid: str) -> StudyRow:
    statement = select(StudyRow).where(StudyRow.study_instance_uid == study_uid).with_for_update()
    study = session.scalars(statement).one_or_none()
    if study is None:
        raise UserError(f"no study {study_uid} is known; `ichd status` lists them")
    return study


def undone(session: Session, study: StudyRow) -> bool:
    """Whether a delivery of the study's revision is still owed."""
    owed = select(JobRow.id).where(
        JobRow.study_id == study.id,
        JobRow.revision == study.revision,
        JobRow.kind == JobKind.PUBLISH,
        JobRow.state != JobState.DONE,
    )
    return session.scalars(owed.limit(1)).one_or_none() is not None


def end(study: StudyRow, state: StudyState, now: datetime, *, reason: Reason | None = None, detail: str = "") -> None:
    """Finish a study; the caller holds the row's lock."""
    study.state = move_study(study.state, state)
    study.finished_at = now
    study.reason, study.detail = reason, detail


def fail(study: StudyRow, reason: Reason, detail: str, now: datetime) -> None:
    """A study that failed at one destination keeps that reason when it fails at the next; each job has its own."""
    if study.state is not StudyState.FAILED:
        end(study, StudyState.FAILED, now, reason=reason, detail=detail)


def reopen(study: StudyRow, *, at_reading: bool) -> None:
    """A failed study goes back to where it failed."""
    study.state = move_study(study.state, StudyState.READY if at_reading else StudyState.ANALYSING)
    study.finished_at = study.reason = None
    study.detail = ""


def unbury(session: Session, study: StudyRow, *, at_reading: bool) -> None:
    """Reopen a study that failed by a death that never was; one with another dead job stays failed."""
    if study.state is not StudyState.FAILED:
        return
    session.flush()
    dead = select(JobRow.id).where(
        JobRow.study_id == study.id, JobRow.revision == study.revision, JobRow.state == JobState.DEAD
    )
    if session.scalars(dead.limit(1)).one_or_none() is None:
        reopen(study, at_reading=at_reading)
