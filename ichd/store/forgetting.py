"""What was kept for a while and serves nobody any more."""

from datetime import datetime

from sqlalchemy import Engine, delete, exists, select

from ichd.store.tables import AnnouncementRow, CommitmentRow, RefusalRow, StudyRow
from ichd.store.transaction import writing

#: Rows of one transaction: images that arrive must not wait for it.
_BATCH = 2000


def forget_old(engine: Engine, *, before: datetime) -> int:
    """Remove announcements of studies that never came, requests for storage commitment that have ended, and refusals.

    Those that were made, or have ended, before a moment; returns how many.

    Raises:
        Transient: the database fails.
    """
    never_came = ~exists().where(StudyRow.study_instance_uid == AnnouncementRow.study_instance_uid)
    announcements = select(AnnouncementRow.id).where(AnnouncementRow.made_at < before, never_came).limit(_BATCH)
    commitments = select(CommitmentRow.id).where(CommitmentRow.finished_at < before).limit(_BATCH)
    refusals = select(RefusalRow.id).where(RefusalRow.refused_at < before).limit(_BATCH)
    forgotten = 0
    for statement in (
        delete(AnnouncementRow).where(AnnouncementRow.id.in_(announcements)).returning(AnnouncementRow.id),
        delete(CommitmentRow).where(CommitmentRow.id.in_(commitments)).returning(CommitmentRow.id),
        delete(RefusalRow).where(RefusalRow.id.in_(refusals)).returning(RefusalRow.id),
    ):
        gone = _BATCH
        while gone == _BATCH:
            with writing(engine) as session:
                gone = len(session.scalars(statement, execution_options={"synchronize_session": False}).all())
            forgotten += gone
    return forgotten
