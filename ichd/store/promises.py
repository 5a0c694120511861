"""What destinations were asked to take responsibility for (PS3.4 annex J, as a user), and what they answered."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Engine, delete, select, update

from ichd.domain.job import JobState
from ichd.store.facts import storable_text
from ichd.store.tables import JobRow, PromiseRow
from ichd.store.transaction import insert_if_new, reading, writing


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One request for storage commitment, and its answer once that has come."""

    transaction_uid: str
    job_id: int
    #: Who was asked, and alone may answer.
    ae_title: str
    asked_at: datetime
    answered_at: datetime | None
    #: SOP Instance UIDs that it takes responsibility for, and no others; None before the answer.
    committed: tuple[str, ...] | None


class Promises:
    """Every method raises Transient where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ask(self, job_id: int, transaction_uid: str, ae_title: str, now: datetime) -> None:
        """Write down that a destination is about to be asked; a transaction that is known already stays as it is.

        Before the question goes out: some answer on another association sooner than they acknowledge the question.
        """
        asked = {
            "job_id": job_id,
            "transaction_uid": transaction_uid,
            "ae_title": ae_title.strip(),
            "asked_at": now,
            "answered_at": None,
        }
        with writing(self._engine) as session:
            insert_if_new(session, PromiseRow, asked)

    def withdraw(self, transaction_uid: str) -> None:
        """The question did not go out; an answer that came all the same is kept."""
        unanswered = (PromiseRow.transaction_uid == transaction_uid, PromiseRow.answered_at.is_(None))
        with writing(self._engine) as session:
            session.execute(delete(PromiseRow).where(*unanswered))

    def answer(self, transaction_uid: str, ae_title: str, committed: Sequence[str], now: datetime) -> bool:
        """Keep an answer, and let the delivery that waits for it be looked at now; False where nobody asked this AE.

        The first answer counts: one that comes again, as of a peer that missed our yes, is known and changes nothing.
        """
        theirs = (PromiseRow.transaction_uid == transaction_uid, PromiseRow.ae_title == ae_title.strip())
        with writing(self._engine) as session:
            row = session.scalars(select(PromiseRow).where(*theirs).with_for_update()).one_or_none()
            if row is None:
                return False
            if row.answered_at is not None:
                return True
            row.answered_at, row.committed = now, [storable_text(uid) for uid in committed]
            waiting = (JobRow.id == row.job_id, JobRow.state == JobState.QUEUED, JobRow.run_at > now)
            session.execute(update(JobRow).where(*waiting).values(run_at=now))
        return True

    def verdict(self, job_id: int) -> Promise | None:
        """What a delivery was promised last; None where nobody was asked for it."""
        newest = select(PromiseRow).where(PromiseRow.job_id == job_id).order_by(PromiseRow.id.desc()).limit(1)
        with reading(self._engine) as session:
            row = session.scalars(newest).one_or_none()
        if row is None:
            return None
        values = {field.name: getattr(row, field.name) for field in fields(Promise)}
        return Promise(**values | {"committed": None if row.answered_at is None else tuple(row.committed or ())})
