"""What the doors write down: the images that associations carry, and those that they had to refuse."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import Engine, delete, exists, insert, select, union_all

from ichd.domain.arrival import Door
from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.domain.study import InstanceFacts
from ichd.store.associations import Associations, ending
from ichd.store.deposits import Deposit, audit_deposits
from ichd.store.group_commit import GroupCommit
from ichd.store.kept import dropped_among
from ichd.store.recording import Arrival, ArrivalKind, owed, record_all
from ichd.store.refusals import Refusal, latest_refusals, write_refusals
from ichd.store.reopening import reopen
from ichd.store.settling import settle_all
from ichd.store.spool import StoredFile
from ichd.store.tables import ArrivalRow, AssociationRow, ConflictRow, InstanceRow, StudyRow, UploadRow
from ichd.store.transaction import RowWriter, insert_link, reading, writing

__all__ = ["ArrivalKind", "Arrivals"]


def forgotten_meanwhile() -> Transient:
    """What a sender is told whose image had a row until a person had its study forgotten: sent again, it is new."""
    return Transient(Reason.STORE_UNAVAILABLE, "the study was forgotten at this moment")


class _TakenBack(Exception):
    """What was written is not meant to stay."""


class Arrivals(Associations):
    """Each method is one transaction, committed when it returns; each raises Transient where the database fails."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._writer = RowWriter(engine)
        self._recordings = GroupCommit(self._record_all)
        self._settlings = GroupCommit(self._settle_all)
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
            session.execute(ending(association.id).values(ended_at=now, released=False, refused=0)).all()
            session.flush()
            raise _TakenBack

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

        Raises:
            Transient: also where the study was forgotten meanwhile.
        """
        with writing(self._engine) as session:
            uid = facts.study_instance_uid
            study = session.scalars(select(StudyRow).filter_by(study_instance_uid=uid).with_for_update()).one_or_none()
            if study is None:
                raise forgotten_meanwhile()
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

    def settle(self, facts: InstanceFacts, stored: StoredFile) -> bool:
        """The bucket has the bytes of an image: nobody owes them any more, whoever's row it is.

        False where no row has these bytes now, since retention dropped them, or who had a row took it back: then the
        bucket need not keep them.
        """
        return self._settlings.submit((facts.sop_instance_uid, stored.sha256))

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

    def _settle_all(self, images: Sequence[tuple[str, str]]) -> list[bool]:
        with self._writer.transaction() as connection:
            return settle_all(connection, images)

    def _refuse_all(self, refusals: Sequence[Refusal]) -> list[None]:
        with self._writer.transaction() as connection:
            write_refusals(connection, refusals)
        return [None] * len(refusals)
