"""Images of which other bytes arrived under the same SOP Instance UID."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from ichd.store.among import among
from ichd.store.tables import ConflictRow, InstanceRow, SeriesRow, StudyRow


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """Bytes that arrived under a SOP Instance UID that was taken."""

    sop_uid: str
    #: The study that the bytes claim to belong to.
    study_uid: str
    sha256: str
    path: str
    received_at: datetime


def conflict_counts(session: Session, ids: Sequence[int]) -> Mapping[int, int]:
    """How many each study has, by its id."""
    counted = (
        select(ConflictRow.study_id, func.count())
        .where(among(session, ConflictRow.study_id, ids))
        .group_by(ConflictRow.study_id)
    )
    return defaultdict(int, [(study_id, count) for study_id, count in session.execute(counted)])


def conflicts_of(session: Session, study_id: int) -> list[Conflict]:
    """Conflicts under the study's UID, and those of other studies with its images."""
    statement = (
        select(ConflictRow, StudyRow.study_instance_uid)
        .join_from(ConflictRow, StudyRow, ConflictRow.study_id == StudyRow.id)
        .join(InstanceRow, ConflictRow.instance_id == InstanceRow.id)
        .join(SeriesRow, InstanceRow.series_id == SeriesRow.id)
        .where(or_(ConflictRow.study_id == study_id, SeriesRow.study_id == study_id))
        .order_by(ConflictRow.id)
    )
    return [
        Conflict(
            sop_uid=row.sop_instance_uid,
            study_uid=study_uid,
            sha256=row.sha256,
            path=row.path,
            received_at=row.received_at,
        )
        for row, study_uid in session.execute(statement)
    ]
