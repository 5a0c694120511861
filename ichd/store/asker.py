"""Who asks for something to be done with a study, for the audit trail."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.store.audit import record_audit


@dataclass(frozen=True, kw_only=True)
class Asker:
    """A person or a program at a door."""

    name: str
    #: Where they sit on the network.
    address: str


def tell_audit(
    session: Session, asker: Asker, event: AuditEvent, study_uid: str, *, now: datetime, **facts: int
) -> None:
    """Write down what was done, in the transaction in which it is."""
    record_audit(
        session,
        at=now,
        event=event,
        outcome=AuditOutcome.SUCCESS,
        actor=asker.name,
        address=asker.address,
        subject={"study_instance_uid": study_uid, **facts},
    )
