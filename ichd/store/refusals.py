"""What was turned away, for those who look."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select
from sqlalchemy.orm import Session

from ichd.domain.reason import Reason
from ichd.store.facts import storable_text
from ichd.store.tables import RefusalRow


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An image that was turned away at the door, as `ichd status` shows it."""

    refused_at: datetime
    reason: Reason
    detail: str
    calling_ae_title: str
    address: str
    #: As the sender named them; None where that was not a UID.
    sop_class_uid: str | None
    sop_instance_uid: str | None
    #: As the header says; None where it could not be read.
    study_instance_uid: str | None


def write_refusals(connection: Connection, refusals: Sequence[Refusal]) -> None:
    """Make rows of some."""
    rows = [
        {
            "refused_at": refusal.refused_at,
            "reason": refusal.reason,
            "detail": storable_text(refusal.detail),
            "calling_ae_title": storable_text(refusal.calling_ae_title),
            "address": refusal.address,
            "sop_class_uid": refusal.sop_class_uid,
            "sop_instance_uid": refusal.sop_instance_uid,
            "study_instance_uid": refusal.study_instance_uid,
        }
        for refusal in refusals
    ]
    connection.execute(insert(RefusalRow), rows)


def latest_refusals(session: Session, *, limit: int, study_instance_uid: str | None = None) -> list[Refusal]:
    """The latest, of all or of one study, newest first."""
    newest = select(RefusalRow).order_by(RefusalRow.refused_at.desc(), RefusalRow.id.desc()).limit(limit)
    if study_instance_uid is not None:
        newest = newest.where(RefusalRow.study_instance_uid == study_instance_uid)
    return [
        Refusal(
            refused_at=row.refused_at,
            reason=row.reason,
            detail=row.detail,
            calling_ae_title=row.calling_ae_title,
            address=row.address,
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            study_instance_uid=row.study_instance_uid,
        )
        for row in session.scalars(newest)
    ]
