"""What each revision of a study came to: its history, as people look at it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select

from ichd.domain.finding import Triage
from ichd.domain.reason import Reason
from ichd.store.tables import FindingRow, StudyRow
from ichd.store.transaction import reading


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One reading of a study, or the reason why there was none."""

    number: int
    #: The earlier one whose report this one's replaces; None where there is none.
    predecessor: int | None
    concluded_at: datetime
    triage: Triage | None
    #: Scan-level probabilities by class, 0 to 1; None where nothing was read.
    scan: Mapping[str, float] | None
    #: Name and version of the model; empty where nothing was read.
    model: str
    #: Of images that the network saw as slices.
    slices: int
    reason: Reason | None
    detail: str


def revisions_of(engine: Engine, study_uid: str) -> tuple[Revision, ...]:
    """Those that came to something, oldest first; none where the study is unknown.

    Raises:
        Transient: the database does not answer.
    """
    statement = (
        select(
            FindingRow.revision,
            FindingRow.predecessor_revision,
            FindingRow.created_at,
            FindingRow.triage,
            FindingRow.scan,
            FindingRow.record,
        )
        .join(StudyRow, FindingRow.study_id == StudyRow.id)
        .where(StudyRow.study_instance_uid == study_uid)
        .order_by(FindingRow.revision)
    )
    with reading(engine) as session:
        rows = session.execute(statement).all()
    return tuple(
        Revision(
            number=row.revision,
            predecessor=row.predecessor_revision,
            concluded_at=row.created_at,
            triage=row.triage,
            scan=row.scan,
            model=f"{row.record['model']['name']} {row.record['model']['version']}" if row.record["model"] else "",
            slices=len(row.record["slices"]),
            reason=Reason(row.record["reason"]) if row.record.get("reason") else None,
            detail=row.record.get("detail") or "",
        )
        for row in rows
    )
