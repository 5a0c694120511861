"""The audit trail (PS3.15 A.5): rows that are only ever added, in the transaction of what they tell."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.store.facts import storable_text
from ichd.store.tables import AuditRow


def record_audit(
    session: Session,
    *,
    at: datetime,
    event: AuditEvent,
    outcome: AuditOutcome,
    actor: str,
    address: str,
    subject: Mapping[str, Any],
) -> None:
    """Add one thing that happened. `subject` holds UIDs, counts, names of settings; never who the patient is."""
    session.add(
        AuditRow(
            at=at, event=event, outcome=outcome, actor=storable_text(actor), address=address, subject=dict(subject)
        )
    )
