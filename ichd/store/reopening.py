"""A finished study that is received again."""

from datetime import datetime

from sqlalchemy.orm import Session

from ichd.domain.study import StudyState, move_study
from ichd.store.job_ends import supersede_earlier
from ichd.store.tables import StudyRow


def reopen(session: Session, study_id: int, *, now: datetime) -> StudyRow:
    """Make a study `receiving` as a new revision, unless it is; what earlier revisions still had to do ends.

    The caller has locked the study.
    """
    study = session.get_one(StudyRow, study_id, populate_existing=True)
    if study.state is StudyState.RECEIVING:
        return study
    study.state = move_study(study.state, StudyState.RECEIVING)
    study.revision += 1
    study.ready_at = study.started_at = study.finished_at = study.closing = study.reason = None
    # Of its images at least one is here again; each row says whether its own is.
    study.images_dropped_at = None
    study.detail = study.closing_detail = ""
    study.last_instance_at = now
    supersede_earlier(session, study_id=study.id, revision=study.revision, now=now)
    session.flush()
    return study
