"""What became of reports on their way out, for the audit trail."""

from datetime import datetime

from sqlalchemy.orm import Session

from ichd.domain.audit import OURSELVES, AuditEvent, AuditOutcome
from ichd.domain.delivery import Receipt
from ichd.domain.reason import Reason
from ichd.store.audit import record_audit


def audit_receipt(session: Session, receipt: Receipt, *, study_uid: str, now: datetime) -> None:
    """A destination took a report."""
    record_audit(
        session,
        at=now,
        event=AuditEvent.RESULTS_SENT,
        outcome=AuditOutcome.SUCCESS,
        actor=OURSELVES,
        subject={
            "destination": receipt.destination,
            "destination_ae_title": receipt.ae_title,
            "destination_address": receipt.address,
            "study_instance_uid": study_uid,
            "sop_class_uids": [receipt.sop_class_uid],
            "sop_instance_uids": list(receipt.sop_instance_uids),
            "status": receipt.status,
        },
    )


def audit_dead_delivery(session: Session, destination: str, reason: Reason, *, study_uid: str, now: datetime) -> None:
    """A report did not reach a destination, and nobody tries any more unless a person says so."""
    record_audit(
        session,
        at=now,
        event=AuditEvent.RESULTS_SENT,
        outcome=AuditOutcome.SERIOUS_FAILURE,
        actor=OURSELVES,
        subject={"destination": destination, "study_instance_uid": study_uid, "reason": str(reason)},
    )
