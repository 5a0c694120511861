"""Mending what a clock that was set back left behind (`ichd.domain.clock_step`)."""

from datetime import datetime

from sqlalchemy import Engine, or_, select
from sqlalchemy.orm import Session

from ichd.domain.clock_step import Horizon, has_been, is_astray, lease_end
from ichd.domain.study import StudyState
from ichd.store.job_row import is_queued, postpone
from ichd.store.study_row import locked
from ichd.store.tables import ArrivalRow, AssociationRow, DestinationRow, JobRow, StudyRow
from ichd.store.transaction import writing


def repair_future(engine: Engine, *, horizon: Horizon, now: datetime) -> int:
    """Bring times that lie too far ahead to where they can be at most; returns how many rows were changed.

    Nothing is lost by it where the clock is right: a row that a machine wrote a few milliseconds ahead of `now` moves
    by these.

    Raises:
        Transient: the database does not answer.
    """
    with writing(engine) as session:
        return (
            _studies(session, now)
            + _associations(session, now)
            + _leases(session, horizon, now)
            + _waits(session, horizon, now)
            + _destinations(session, horizon, now)
        )


def _studies(session: Session, now: datetime) -> int:
    """First, as everybody who locks a study and its jobs."""
    receiving = (StudyRow.state == StudyState.RECEIVING, StudyRow.last_instance_at > now)
    ids = session.scalars(select(StudyRow.id).where(*receiving).order_by(StudyRow.id)).all()
    for study_id in ids:
        study = locked(session, study_id)
        study.last_instance_at = has_been(study.last_instance_at, now)
    return len(ids)


def _associations(session: Session, now: datetime) -> int:
    """Those of studies that still wait for their end."""
    of_receiving = (
        select(ArrivalRow.association_id)
        .join(StudyRow, StudyRow.id == ArrivalRow.study_id)
        .where(StudyRow.state == StudyState.RECEIVING)
    )
    ahead = or_(AssociationRow.opened_at > now, AssociationRow.ended_at > now)
    statement = select(AssociationRow).where(AssociationRow.id.in_(of_receiving), ahead).with_for_update()
    rows = session.scalars(statement).all()
    for row in rows:
        row.opened_at = has_been(row.opened_at, now)
        row.ended_at = row.ended_at and has_been(row.ended_at, now)
    return len(rows)


def _leases(session: Session, horizon: Horizon, now: datetime) -> int:
    rows = session.scalars(select(JobRow).where(JobRow.lease_until > now + horizon.lease).with_for_update()).all()
    for row in rows:
        row.lease_until = row.lease_until and lease_end(row.lease_until, horizon, now)
    return len(rows)


def _waits(session: Session, horizon: Horizon, now: datetime) -> int:
    """A job that was made ahead of now was meant to be due at its making."""
    rows = session.scalars(select(JobRow).where(is_queued(JobRow), JobRow.run_at > now).with_for_update()).all()
    astray = [row for row in rows if row.created_at > now or is_astray(row.run_at, horizon.wait, now)]
    for row in astray:
        postpone(row, run_at=now)
    return len(astray)


def _destinations(session: Session, horizon: Horizon, now: datetime) -> int:
    rows = session.scalars(select(DestinationRow).where(DestinationRow.closed_until > now).with_for_update()).all()
    astray = [row for row in rows if is_astray(row.closed_until, horizon.pause, now)]
    for row in astray:
        row.closed_until = now
    return len(astray)
