"""The statements that workers send all day, each built once.

Building one takes several times as long as the database takes for it. No parameter is called as a column is: an UPDATE
would set it.
"""

from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Select, bindparam, exists, or_, select, update
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningUpdate, Update

from ichd.domain.job import JobKind, JobState, move_job
from ichd.store.columns import UtcDateTime
from ichd.store.destinations import closed_destinations
from ichd.store.durability import Unawaited
from ichd.store.job_row import is_queued
from ichd.store.tables import JobRow, ReceiptRow, StudyRow


def _time(name: str) -> BindParameter[Any]:
    return bindparam(name, type_=UtcDateTime())


@cache
def next_due(kinds: frozenset[JobKind], to_one: bool) -> Select[int]:
    """Id of the job to claim `now`: of one `its_destination`, of none where nothing is to be delivered, or any."""
    now = _time("now")
    due = aliased(JobRow)
    statement = select(due.id).where(is_queued(due), due.run_at <= now)
    # What is to be delivered has a destination, and a reading has none; the indices go by that.
    if kinds == {JobKind.ANALYSE}:
        statement = statement.where(due.destination.is_(None))
    elif to_one:
        statement = statement.where(due.destination == bindparam("its_destination"))
    elif kinds == {JobKind.PUBLISH}:
        statement = statement.where(due.destination.is_not(None))
    if JobKind.PUBLISH in kinds:
        left_alone = due.destination.in_(closed_destinations(now))
        statement = statement.where(due.destination.is_(None) | ~left_alone, ~_overtakes(due))
    return statement.order_by(due.order_at, due.id).limit(1)


def _overtakes(due: type[JobRow]) -> Any:
    """Whether an earlier revision's report has still to be sent to the same destination.

    What was sent and is not yet proved holds nothing up: the order of revisions is that of their sending.
    """
    earlier = aliased(JobRow)
    return exists().where(
        earlier.study_id == due.study_id,
        earlier.destination == due.destination,
        earlier.revision < due.revision,
        or_(earlier.state == JobState.QUEUED, earlier.state == JobState.LEASED),
        ~exists().where(ReceiptRow.job_id == earlier.id),
    )


@cache
def claim(kinds: frozenset[JobKind], to_one: bool) -> ReturningUpdate[Any]:
    """Lease that job to `its_owner` until `its_end`."""
    next_id = (
        next_due(kinds, to_one)
        .with_for_update(skip_locked=True)  # left out where there is a single writer anyway: SQLite
        .scalar_subquery()
    )
    study_uid = select(StudyRow.study_instance_uid).where(StudyRow.id == JobRow.study_id).correlate(JobRow)
    return (
        update(JobRow)
        .where(JobRow.id == next_id, Unawaited())
        .values(
            state=move_job(JobState.QUEUED, JobState.LEASED),
            owner=bindparam("its_owner"),
            begun=False,
            attempt=JobRow.attempt + 1,
            lease_until=_time("its_end"),
        )
        .returning(
            JobRow.id,
            JobRow.kind,
            JobRow.study_id,
            JobRow.revision,
            JobRow.destination,
            JobRow.attempt,
            JobRow.owed_since,
            study_uid.scalar_subquery().label("study_uid"),
        )
    )


@cache
def extend() -> Update:
    """Move the end of a lease to `its_end`."""
    return _of_holder().values(lease_until=_time("its_end"))


@cache
def complete() -> Update:
    """End a job well, `now`."""
    done = move_job(JobState.LEASED, JobState.DONE)
    return _of_holder().values(state=done, finished_at=_time("now"), lease_until=None)


def _of_holder() -> Update:
    """A change of the job `its_id`, if `its_owner` still holds it with `its_attempt`; else of nothing."""
    return update(JobRow).where(
        JobRow.id == bindparam("its_id"),
        JobRow.state == JobState.LEASED,
        JobRow.owner == bindparam("its_owner"),
        JobRow.attempt == bindparam("its_attempt"),
    )
