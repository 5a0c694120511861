"""What an association left of each study, for the audit trail."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.store.audit import record_audit
from ichd.store.tables import ArrivalRow, InstanceRow, SeriesRow, StudyRow


@dataclass(frozen=True, kw_only=True)
class Deposit:
    """Images of one study that were new."""

    study_instance_uid: str
    instances: int = 0
    sop_class_uids: frozenset[str] = frozenset()

    def plus(self, sop_class_uid: str, instances: int = 1) -> Self:
        """The same with more images of one class."""
        return type(self)(
            study_instance_uid=self.study_instance_uid,
            instances=self.instances + instances,
            sop_class_uids=self.sop_class_uids | {sop_class_uid},
        )


def audit_deposits(
    session: Session, deposits: Iterable[Deposit], *, calling_ae_title: str, address: str, now: datetime
) -> None:
    """Tell the audit trail of each study that got new images."""
    for deposit in deposits:
        record_audit(
            session,
            at=now,
            event=AuditEvent.INSTANCES_STORED,
            outcome=AuditOutcome.SUCCESS,
            actor=calling_ae_title,
            address=address,
            subject={
                "study_instance_uid": deposit.study_instance_uid,
                "instances": deposit.instances,
                "sop_class_uids": sorted(deposit.sop_class_uids),
            },
        )


def deposits_of(session: Session, association_id: int) -> list[Deposit]:
    """What an association left, by the rows of its images: nobody who counted them is alive.

    By way of the studies that it carried: there is no index from an association to its images.
    """
    statement = (
        select(StudyRow.study_instance_uid, InstanceRow.sop_class_uid, func.count())
        .select_from(ArrivalRow)
        .join(StudyRow, StudyRow.id == ArrivalRow.study_id)
        .join(SeriesRow, SeriesRow.study_id == StudyRow.id)
        .join(InstanceRow, InstanceRow.series_id == SeriesRow.id)
        .where(ArrivalRow.association_id == association_id, InstanceRow.association_id == association_id)
        .group_by(StudyRow.study_instance_uid, InstanceRow.sop_class_uid)
        .order_by(StudyRow.study_instance_uid)
    )
    found: dict[str, Deposit] = {}
    for study_uid, sop_class_uid, instances in session.execute(statement):
        before = found.get(study_uid, Deposit(study_instance_uid=study_uid))
        found[study_uid] = before.plus(sop_class_uid, instances)
    return list(found.values())
