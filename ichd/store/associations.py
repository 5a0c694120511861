"""Associations: who came to a door, what was refused there, and what was left when it ended."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from ichd.domain.arrival import Door
from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.store.audit import record_audit
from ichd.store.deposits import Deposit, audit_deposits, deposits_of
from ichd.store.facts import storable_text
from ichd.store.tables import ArrivalRow, AssociationRow, RefusalRow, StudyRow
from ichd.store.transaction import insert_link, reading, writing

_WHO = (AssociationRow.calling_ae_title, AssociationRow.address)


def ending(association_id: int) -> ReturningUpdate[str, str]:
    """Ends an association, once it is told with which values; gives the title and the address of who called."""
    return update(AssociationRow).where(AssociationRow.id == association_id).returning(*_WHO)


def _under_reception(session: Session, study_uids: Sequence[str]) -> Sequence[int]:
    if not study_uids:
        return ()
    wanted = (StudyRow.study_instance_uid.in_(study_uids), StudyRow.state == StudyState.RECEIVING)
    return session.scalars(select(StudyRow.id).where(*wanted)).all()


class Associations:
    """Each method is one transaction, committed when it returns; each raises Transient where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open_association(
        self, *, calling_ae_title: str, address: str, now: datetime, listener: str = "", door: Door = Door.DIMSE
    ) -> int:
        """Write down that a peer opened an association; returns its id.

        `listener` says where it was listened for, such that only one process at a time can listen there.
        """
        caller = storable_text(calling_ae_title)
        with writing(self._engine) as session:
            row = AssociationRow(door=door, calling_ae_title=caller, address=address, opened_at=now, listener=listener)
            session.add(row)
            session.flush()
            return row.id

    def end_association(
        self,
        association_id: int,
        *,
        released: bool,
        now: datetime,
        refused: int = 0,
        deposits: Sequence[Deposit] = (),
        missed: Sequence[str] = (),
    ) -> None:
        """Write down that it ended, by A-RELEASE or otherwise, how many images it refused, and what it left.

        `missed` are the UIDs of studies of which it lost an image: it is evidence for each that is received, also where
        it carried nothing of it. The last word counts. Nothing is written of one that has no row any more, as where the
        database was restored meanwhile.
        """
        ended = ending(association_id).values(ended_at=now, released=released, refused=refused)
        with writing(self._engine) as session:
            who = session.execute(ended).one_or_none()
            if who is None:
                return
            for study_id in _under_reception(session, missed):
                insert_link(session, ArrivalRow, {"study_id": study_id, "association_id": association_id})
            audit_deposits(session, deposits, calling_ae_title=who.calling_ae_title, address=who.address, now=now)

    def note_fruitless(
        self,
        *,
        door: Door,
        calling_ae_title: str,
        address: str,
        listener: str,
        opened_at: datetime,
        released: bool,
        refused: int,
        missed: Sequence[str],
        now: datetime,
    ) -> None:
        """Write down an association that lost images and kept none, where a study is received that misses one."""
        row = AssociationRow(
            door=door,
            calling_ae_title=storable_text(calling_ae_title),
            address=address,
            listener=listener,
            opened_at=opened_at,
            ended_at=now,
            released=released,
            refused=refused,
        )
        with writing(self._engine) as session:
            study_ids = _under_reception(session, missed)
            if not study_ids:
                return
            session.add(row)
            session.flush()
            for study_id in study_ids:
                insert_link(session, ArrivalRow, {"study_id": study_id, "association_id": row.id})

    def end_interrupted(self, *, listener: str, now: datetime) -> int:
        """End what a dead listener left open at this place, as not released; returns how many.

        For the start of a listener that has the place by now. Those of listeners elsewhere are none of its business.
        """
        left_open = (AssociationRow.listener == listener, AssociationRow.ended_at.is_(None))
        statement = update(AssociationRow).where(*left_open).returning(AssociationRow.id, *_WHO)
        with writing(self._engine) as session:
            ended = session.execute(statement.values(ended_at=now, released=False)).all()
            for row in ended:
                left = deposits_of(session, row.id)
                audit_deposits(session, left, calling_ae_title=row.calling_ae_title, address=row.address, now=now)
            return len(ended)

    def is_under_reception(self, study_instance_uid: str) -> bool:
        """Whether a study is being received: what is lost of it counts as evidence."""
        with reading(self._engine) as session:
            return bool(_under_reception(session, [study_instance_uid]))

    def refuse_association(
        self, reason: Reason, *, detail: str, calling_ae_title: str, address: str, now: datetime
    ) -> None:
        """Write down that a peer was not let in, also in the audit trail."""
        with writing(self._engine) as session:
            session.add(
                RefusalRow(
                    refused_at=now,
                    reason=reason,
                    detail=storable_text(detail),
                    calling_ae_title=storable_text(calling_ae_title),
                    address=address,
                )
            )
            record_audit(
                session,
                at=now,
                event=AuditEvent.ASSOCIATION_REFUSED,
                outcome=AuditOutcome.MINOR_FAILURE,
                actor=calling_ae_title,
                address=address,
                subject={"reason": str(reason), "detail": detail},
            )
