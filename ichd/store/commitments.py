"""Requests for storage commitment: filed when they are asked, claimed by one reporter at a time, kept with their end.

A claim is a lease: it moves `run_at` to where it ends, so that a request whose reporter died comes back by itself, and
whoever still holds that very `run_at` is its owner.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Engine, func, select, union_all, update
from sqlalchemy.orm import Session

from ichd.domain.arrival import CommitmentState
from ichd.domain.errors import LeaseLost
from ichd.domain.reason import Reason
from ichd.store.spool import StoredFile
from ichd.store.tables import CommitmentRow, ConflictRow, InstanceRow
from ichd.store.transaction import insert_if_new, reading, writing

#: Images that all requests together ask about while they wait: two days of a large hospital whose archive is away.
MOST_IMAGES_WAITING = 500_000
#: SQLite takes 32,766 variables a statement.
_LOOKUP_BATCH = 5000


class Filing(StrEnum):
    """What became of a request."""

    FILED = "filed"
    #: It waits already, or waits again: whoever asks twice has not heard the answer.
    KNOWN = "known"
    #: The same transaction UID was used for other images.
    TAKEN = "taken"
    #: Its sender, or all together, have so much waiting that another request would only wait longer.
    TOO_MANY = "too_many"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An image that somebody asks about."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class Commitment:
    """A request that its holder answers."""

    id: int
    transaction_uid: str
    calling_ae_title: str
    #: Where the question came from.
    address: str
    requested_at: datetime
    references: tuple[Reference, ...]
    #: Failed attempts so far.
    attempts: int
    lease_until: datetime


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What is stored under a SOP Instance UID."""

    sop_class_uid: str
    #: The one that is read, and other bytes that arrived under the same UID and were acknowledged as well.
    files: tuple[StoredFile, ...]


class Commitments:
    """Each method is one transaction, committed when it returns; each raises Transient where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def file(
        self,
        *,
        transaction_uid: str,
        calling_ae_title: str,
        address: str,
        references: Sequence[Reference],
        most_pending: int,
        now: datetime,
    ) -> Filing:
        """Write a request down, due at once."""
        instances = [[r.sop_class_uid, r.sop_instance_uid] for r in references]
        key = {"calling_ae_title": calling_ae_title, "transaction_uid": transaction_uid}
        values = key | {"address": address, "requested_at": now, "run_at": now, "instances": instances}
        values["images"] = len(instances)
        values |= {"state": CommitmentState.PENDING, "attempts": 0, "detail": ""}
        with writing(self._engine) as session:
            row = session.scalars(select(CommitmentRow).filter_by(**key).with_for_update()).one_or_none()
            if row is None:
                if _pending(session, calling_ae_title) >= most_pending or _is_full(session, len(instances)):
                    return Filing.TOO_MANY
                if insert_if_new(session, CommitmentRow, values) is not None:
                    return Filing.FILED
                # Another listener filed it in between.
                row = session.scalars(select(CommitmentRow).filter_by(**key).with_for_update()).one()
            # The sequence has no order: who asks again may list it in another one.
            if sorted(row.instances) != sorted(instances):
                return Filing.TAKEN
            if row.state is not CommitmentState.PENDING:
                row.state, row.attempts, row.run_at, row.requested_at = CommitmentState.PENDING, 0, now, now
                row.reason, row.detail, row.finished_at = None, "", None
            return Filing.KNOWN

    def next_due(self) -> datetime | None:
        """When the next request is due; one that is held comes due when its lease ends."""
        earliest = select(func.min(CommitmentRow.run_at)).where(CommitmentRow.state == CommitmentState.PENDING)
        with reading(self._engine) as session:
            return session.scalar(earliest)

    def claim(self, *, lease_s: float, now: datetime) -> Commitment | None:
        """Hold the next request that is due, or None."""
        next_id = (
            select(CommitmentRow.id)
            .where(CommitmentRow.state == CommitmentState.PENDING, CommitmentRow.run_at <= now)
            .order_by(CommitmentRow.run_at, CommitmentRow.id)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        until = now + timedelta(seconds=lease_s)
        statement = update(CommitmentRow).where(CommitmentRow.id == next_id).values(run_at=until)
        with writing(self._engine) as session:
            row = session.scalars(
                statement.returning(CommitmentRow), execution_options={"synchronize_session": False}
            ).one_or_none()
            if row is None:
                return None
            return Commitment(
                id=row.id,
                transaction_uid=row.transaction_uid,
                calling_ae_title=row.calling_ae_title,
                address=row.address,
                requested_at=row.requested_at,
                references=tuple(Reference(sop_class_uid=c, sop_instance_uid=i) for c, i in row.instances),
                attempts=row.attempts,
                lease_until=until,
            )

    def extend(self, commitment: Commitment, *, lease_s: float, now: datetime) -> Commitment:
        """Keep a claim alive; the returned one replaces the given one.

        Raises:
            LeaseLost: somebody else holds it by now.
        """
        until = now + timedelta(seconds=lease_s)
        with writing(self._engine) as session:
            _held(session, commitment).run_at = until
        return replace(commitment, lease_until=until)

    def holdings(self, sop_instance_uids: Sequence[str]) -> Mapping[str, Holding]:
        """What is stored under each UID; one under which nothing is stored, or is any more, is left out.

        Every row was committed after its file was durable, and before its sender was answered.
        """
        classes: dict[str, str] = {}
        files: dict[str, list[StoredFile]] = defaultdict(list)
        with reading(self._engine) as session:
            for start in range(0, len(sop_instance_uids), _LOOKUP_BATCH):
                batch = sop_instance_uids[start : start + _LOOKUP_BATCH]
                named = select(InstanceRow.sop_instance_uid, InstanceRow.sop_class_uid)
                here = (InstanceRow.sop_instance_uid.in_(batch), InstanceRow.dropped_at.is_(None))
                rows = session.execute(named.where(*here))
                classes |= {row.sop_instance_uid: row.sop_class_uid for row in rows}
                stored = union_all(
                    *(
                        select(table.sop_instance_uid, table.path, table.sha256, table.size).where(
                            table.sop_instance_uid.in_(batch), table.dropped_at.is_(None)
                        )
                        for table in (InstanceRow, ConflictRow)
                    )
                )
                for uid, path, sha256, size in session.execute(stored):
                    files[uid].append(StoredFile(path=path, sha256=sha256, size=size))
        return {uid: Holding(sop_class_uid=cls, files=tuple(files[uid])) for uid, cls in classes.items()}

    def wait(self, commitment: Commitment, *, until: datetime) -> None:
        """Give a claim back that nothing went wrong with.

        Raises:
            LeaseLost: somebody else holds it by now.
        """
        with writing(self._engine) as session:
            _held(session, commitment).run_at = until

    def postpone(
        self, commitment: Commitment, *, until: datetime, reason: Reason, detail: str, whole_peer: bool, now: datetime
    ) -> None:
        """Note a failed attempt; with `whole_peer`, of everything that is due to the same AE.

        So ten requests that wait for an AE that is away cost one timeout, not ten.

        Raises:
            LeaseLost: somebody else holds it by now.
        """
        waiting = (
            CommitmentRow.calling_ae_title == commitment.calling_ae_title,
            CommitmentRow.state == CommitmentState.PENDING,
            CommitmentRow.run_at <= now,
        )
        with writing(self._engine) as session:
            row = _held(session, commitment)
            row.run_at, row.attempts, row.reason, row.detail = until, row.attempts + 1, reason, detail
            if whole_peer:
                others = update(CommitmentRow).where(*waiting, CommitmentRow.id != row.id)
                session.execute(
                    others.values(run_at=until, attempts=CommitmentRow.attempts + 1, reason=reason, detail=detail)
                )

    def reported(self, commitment: Commitment, *, now: datetime) -> None:
        """Its answer was taken.

        Raises:
            LeaseLost: somebody else holds it by now.
        """
        with writing(self._engine) as session:
            row = _held(session, commitment)
            row.state, row.finished_at, row.reason, row.detail = CommitmentState.REPORTED, now, None, ""

    def give_up(self, commitment: Commitment, *, reason: Reason, detail: str, now: datetime) -> None:
        """Nobody took its answer, and it is not tried any more.

        Raises:
            LeaseLost: somebody else holds it by now.
        """
        with writing(self._engine) as session:
            row = _held(session, commitment)
            row.state, row.finished_at, row.attempts = CommitmentState.FAILED, now, row.attempts + 1
            row.reason, row.detail = reason, detail


def _pending(session: Session, calling_ae_title: str) -> int:
    waiting = (CommitmentRow.calling_ae_title == calling_ae_title, CommitmentRow.state == CommitmentState.PENDING)
    return session.scalar(select(func.count()).select_from(CommitmentRow).where(*waiting)) or 0


def _is_full(session: Session, more: int) -> bool:
    waiting = CommitmentRow.state == CommitmentState.PENDING
    return (session.scalar(select(func.sum(CommitmentRow.images)).where(waiting)) or 0) + more > MOST_IMAGES_WAITING


def _held(session: Session, commitment: Commitment) -> CommitmentRow:
    """The row of a claim, locked.

    Raises:
        LeaseLost: somebody else holds it by now.
    """
    held = (
        CommitmentRow.id == commitment.id,
        CommitmentRow.state == CommitmentState.PENDING,
        CommitmentRow.run_at == commitment.lease_until,
    )
    row = session.scalars(select(CommitmentRow).where(*held).with_for_update()).one_or_none()
    if row is None:
        raise LeaseLost(f"storage commitment request {commitment.id}")
    return row
