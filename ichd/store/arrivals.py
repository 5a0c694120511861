"""What the listener writes down: associations, and the images that they carry."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Engine, delete, exists, insert, select, union_all, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from ichd.domain.arrival import Door
from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.reason import Reason
from ichd.domain.study import InstanceFacts, StudyState
from ichd.store.audit import record_audit
from ichd.store.deposits import Deposit, audit_deposits, deposits_of
from ichd.store.facts import storable_text
from ichd.store.group_commit import GroupCommit
from ichd.store.kept import dropped_among
from ichd.store.recording import Arrival, ArrivalKind, owed, record_all
from ichd.store.refusals import Refusal, latest_refusals, write_refusals
from ichd.store.reopening import reopen
from ichd.store.spool import StoredFile
from ichd.store.tables import ArrivalRow, AssociationRow, ConflictRow, InstanceRow, RefusalRow, StudyRow, UploadRow
from ichd.store.transaction import RowWriter, insert_link, reading, writing

__all__ = ["ArrivalKind", "Arrivals"]

_WHO = (AssociationRow.calling_ae_title, AssociationRow.address)


class _TakenBack(Exception):
    """What was written is not meant to stay."""


def _end(association_id: int) -> ReturningUpdate[str, str]:
    return update(AssociationRow).where(AssociationRow.id == association_id).returning(*_WHO)


def _under_reception(session: Session, study_uids: Sequence[str]) -> Sequence[int]:
    if not study_uids:
        return ()
    wanted = (StudyRow.study_instance_uid.in_(study_uids), StudyRow.state == StudyState.RECEIVING)
    return session.scalars(select(StudyRow.id).where(*wanted)).all()


class Arrivals:
    """Each method is one transaction, committed when it returns; each raises Transient where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = RowWriter(engine)
        self._recordings = GroupCommit(self._record_all)
        self._refusings = GroupCommit(self._refuse_all)

    def rehearse(self, *, now: datetime) -> None:
        """Write down an association with an image, and take both back.

        A database that can't be written is found out before anybody is let in, and the first sender does not wait until
        statements are compiled.
        """
        # No UID, so that it can't be anybody's.
        facts = InstanceFacts(
            study_instance_uid="rehearsal",
            series_instance_uid="rehearsal",
            sop_instance_uid="rehearsal",
            sop_class_uid="rehearsal",
            transfer_syntax_uid="rehearsal",
        )
        stored = StoredFile(path="rehearsal", sha256="", size=0)
        with suppress(_TakenBack), writing(self._engine) as session:
            association = AssociationRow(
                door=Door.DIMSE, calling_ae_title="", address="", opened_at=now, listener="rehearsal"
            )
            session.add(association)
            session.flush()
            arrival = Arrival(facts=facts, stored=stored, association_id=association.id, at=now)
            # The second time it is there already, which is another way through.
            for _ in range(2):
                record_all(session.connection(), [arrival])
            deposit = Deposit(study_instance_uid="rehearsal").plus("rehearsal")
            audit_deposits(session, [deposit], calling_ae_title="", address="", now=now)
            session.execute(_end(association.id).values(ended_at=now, released=False, refused=0)).all()
            session.flush()
            raise _TakenBack

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
        ended = _end(association_id).values(ended_at=now, released=released, refused=refused)
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

    def record(
        self,
        facts: InstanceFacts,
        stored: StoredFile,
        *,
        association_id: int,
        now: datetime,
        debtor: str | None = None,
    ) -> ArrivalKind:
        """Write down a stored image; once this returns, the sender may be told that it is safe.

        A new image makes its study `receiving`, as a new revision where it had been complete. A repeated one changes
        nothing but the evidence that a study under reception is still being sent. A conflict never reopens a study; one
        that claims an unknown study opens that study, so that it ends with a reason where a user looks. What is kept is
        owed to the bucket by the machine `debtor`, where there is one.
        """
        arrival = Arrival(facts=facts, stored=stored, association_id=association_id, at=now, debtor=debtor)
        return self._recordings.submit(arrival)

    def first_file(self, facts: InstanceFacts) -> StoredFile | None:
        """The file that is read for an image; None where it is not stored."""
        statement = select(InstanceRow.path, InstanceRow.sha256, InstanceRow.size)
        with reading(self._engine) as session:
            row = session.execute(statement.filter_by(sop_instance_uid=facts.sop_instance_uid)).one_or_none()
        return None if row is None else StoredFile(**row._mapping)

    def replace(
        self,
        damaged: StoredFile,
        facts: InstanceFacts,
        stored: StoredFile,
        *,
        association_id: int,
        now: datetime,
        debtor: str | None = None,
    ) -> ArrivalKind:
        """Let the file of a resent image take the place of one that is gone or damaged; its study is received again.

        Returns DUPLICATE where somebody else was faster: the caller discards the file.
        """
        with writing(self._engine) as session:
            uid = facts.study_instance_uid
            study = session.scalars(select(StudyRow).filter_by(study_instance_uid=uid).with_for_update()).one()
            present = select(InstanceRow).where(InstanceRow.path == damaged.path).with_for_update()
            row = session.scalars(present).one_or_none()
            if row is None or row.sha256 != stored.sha256:
                return ArrivalKind.DUPLICATE
            reopen(session, study.id, now=now)
            row.path, row.size, row.revision = stored.path, stored.size, study.revision
            row.received_at, row.association_id, row.dropped_at = now, association_id, None
            session.execute(delete(UploadRow).where(UploadRow.path == damaged.path))
            if debtor is not None:
                session.execute(insert(UploadRow).values(owed(stored, debtor, now)))
            study.last_instance_at = max(study.last_instance_at, now)
            insert_link(session, ArrivalRow, {"study_id": study.id, "association_id": association_id})
            return ArrivalKind.NEW

    def forget(self, stored: StoredFile) -> None:
        """Take back the row of an image whose file vanished before its sender was answered.

        A row that a conflict refers to stays; a resend mends its file.
        """
        unreferenced = ~exists().where(ConflictRow.instance_id == InstanceRow.id)
        with writing(self._engine) as session:
            session.execute(delete(InstanceRow).where(InstanceRow.path == stored.path, unreferenced))
            session.execute(delete(ConflictRow).where(ConflictRow.path == stored.path))
            session.execute(delete(UploadRow).where(UploadRow.path == stored.path))

    def refuse(
        self,
        reason: Reason,
        *,
        detail: str,
        calling_ae_title: str,
        address: str,
        sop_class_uid: str | None,
        sop_instance_uid: str | None,
        now: datetime,
        study_instance_uid: str | None = None,
    ) -> None:
        """Write down that an image was turned away."""
        self._refusings.submit(
            Refusal(
                refused_at=now,
                reason=reason,
                detail=detail,
                calling_ae_title=calling_ae_title,
                address=address,
                sop_class_uid=sop_class_uid,
                sop_instance_uid=sop_instance_uid,
                study_instance_uid=study_instance_uid,
            )
        )

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

    def refusals(self, *, limit: int = 50) -> list[Refusal]:
        """The latest images that were turned away, newest first."""
        with reading(self._engine) as session:
            return latest_refusals(session, limit=limit)

    def known_paths(self, paths: Sequence[str]) -> frozenset[str]:
        """Those of some spool paths that have a row: what `Spool.sweep` must not set aside."""
        statement = union_all(
            *(select(table.path).where(table.path.in_(paths)) for table in (InstanceRow, ConflictRow))
        )
        with reading(self._engine) as session:
            return frozenset(session.scalars(statement))

    def dropped_paths(self, paths: Sequence[str]) -> frozenset[str]:
        """Those of some spool paths whose row says that the file was dropped: it is still there by a death."""
        with reading(self._engine) as session:
            return dropped_among(session, paths)

    def _record_all(self, arrivals: Sequence[Arrival]) -> list[ArrivalKind]:
        with self._writer.transaction() as connection:
            return record_all(connection, arrivals)

    def _refuse_all(self, refusals: Sequence[Refusal]) -> list[None]:
        with self._writer.transaction() as connection:
            write_refusals(connection, refusals)
        return [None] * len(refusals)
