"""Jobs whose worker died, or was so long unheard of that it counted as dead.

Each death is written down under the name of its worker, in the job's `detail`: an operator sees which machines it took,
and a worker that comes back finds whether it was counted. Both functions work in the caller's transaction, which has
locked the study.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from ichd.domain.job import JobState, RetryPolicy, retry_delay
from ichd.domain.reason import Reason
from ichd.store.job_row import Job, bury, give_back, postpone, supersede
from ichd.store.tables import JobRow

_BETWEEN = ", "


def bereave(
    session: Session,
    job_id: int,
    *,
    revision: int,
    retry: RetryPolicy,
    deaths_allowed: int,
    now: datetime,
) -> JobState | None:
    """Take an expired job from its dead worker: queued again, or dead after `deaths_allowed` in a row.

    The first death is most likely a restart and costs no wait; a job that kills its workers waits longer each time.
    A lease that ran out before its work began killed nobody: perhaps the answer to a claim got lost on its way.
    One of an earlier revision than the study's present `revision` just ends. Returns the new state, None where
    somebody else came first.
    """
    row = session.get_one(JobRow, job_id, with_for_update=True, populate_existing=True)
    if row.lease_until is None or row.lease_until >= now:
        return None
    if row.revision < revision:
        supersede(row, now=now)
        return row.state
    if not row.begun:
        give_back(row, run_at=now)
        return row.state
    dead = [*_dead_workers(row), str(row.owner)]
    row.deaths += 1
    row.reason, row.detail = Reason.WORKER_DIED, _BETWEEN.join(dead)
    delay = timedelta() if row.deaths == 1 else retry_delay(retry, row.deaths - 1, 0.0)
    if row.deaths >= deaths_allowed or delay is None:
        bury(row, now=now)
    else:
        give_back(row, run_at=now + delay)
    return row.state


def exonerate(session: Session, job: Job, *, revision: int, now: datetime) -> JobState | None:
    """Take back that the owner of `job` died over it: it lives, and was only cut off, or asleep.

    A job that it still holds, and has stopped to work on, is given back. One that was buried for its death is queued
    again, unless the study has a later `revision` by now. Returns the new state; None where the death was not counted,
    was taken back before, or no longer matters.
    """
    row = session.get(JobRow, job.id, with_for_update=True, populate_existing=True)
    if row is None or row.state is JobState.DONE or row.revision < revision:
        return None
    if row.state is JobState.LEASED and (row.owner, row.attempt) == (job.owner, job.attempt):
        give_back(row, run_at=now)
        return row.state
    dead = _dead_workers(row)
    if job.owner not in dead:
        return None
    dead.remove(job.owner)
    row.deaths -= 1
    row.detail = _BETWEEN.join(dead)
    row.reason = Reason.WORKER_DIED if dead else None
    if row.state is JobState.DEAD:
        give_back(row, run_at=now)
    elif row.state is JobState.QUEUED and row.run_at > now:
        postpone(row, run_at=now)
    return row.state


def _dead_workers(row: JobRow) -> list[str]:
    """Who died over it since somebody last lived to say what went wrong; a crash that was reported names nobody."""
    died: Sequence[str] = row.detail.split(_BETWEEN) if row.deaths and row.reason is Reason.WORKER_DIED else ()
    return [owner for owner in died if owner]
