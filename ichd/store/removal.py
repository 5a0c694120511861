"""Objects that are to leave the bucket: rows that commit with the drop of their images, and go once the bucket says so.

A bucket may take long to answer, or not answer at all, and neither images that arrive nor their studies may wait for
it. So nothing is asked of it under a lock. What the lock would have been for is a resend: the same bytes have the same
name in a bucket whenever they come, and what is brought back meanwhile must stay. Therefore a row stands for as long as
an object may yet be removed, and whoever has the same bytes to bring waits until there is none. Only who holds the
claim on a row removes its object, and only that claim takes the row away, so that no removal is under way without one.

What is left is a request that comes to the bucket long after nobody waits for it any more, of a process that was
stopped between its claim and its request, or in a network that kept it. S3 can't be told to refuse it. Should it meet
what was brought since, the copy of the machine that brought it stays for as long as the bucket has none, and `ichd
bucket --mend` owes it again.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.store.draft import StoredFile
from ichd.store.kept import dropped_among
from ichd.store.study_row import known
from ichd.store.tables import ConflictRow, InstanceRow, RemovalRow, SeriesRow
from ichd.store.transaction import reading, writing

#: Objects of one claim, removed side by side: none of them takes longer than the bucket's own timeouts.
_BATCH = 16
#: Several times those timeouts: who has not come back by then is dead.
_CLAIM = timedelta(minutes=2)
#: Rows of one statement: SQLite takes 32,766 parameters.
_ROWS = 500
#: How long a resend waits for somebody else's removal of the same bytes, and between two looks.
_WAIT_S, _LOOK_S = 5.0, 0.05

Remove = Callable[[StoredFile], None]


@dataclass(frozen=True, kw_only=True)
class RemovalsOwed:
    """What is still to be removed."""

    objects: int
    #: Since when; None where there is nothing.
    oldest: datetime | None


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """One object that is ours to remove."""

    id: int
    number: int
    stored: StoredFile


def owe_removal(session: Session, files: Sequence[StoredFile], now: datetime) -> None:
    """In the transaction that drops images, or that has made sure that no row names them: their objects are to go."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    values = [{"sha256": file.sha256, "size": file.size, "owed_at": now} for file in files]
    for start in range(0, len(values), _ROWS):
        session.execute(insert(RemovalRow).values(values[start : start + _ROWS]).on_conflict_do_nothing())


def owe_removal_of_dropped(session: Session, files: Sequence[StoredFile], now: datetime) -> list[StoredFile]:
    """The same for those of some files whose rows say so; returns them. Their studies are held until the commit."""
    paths = [file.path for file in files]
    for study_id in _studies_of(session, paths):
        known(session, study_id)
    gone = dropped_among(session, paths)
    dropped = [file for file in files if file.path in gone]
    owe_removal(session, dropped, now)
    return dropped


class Removals:
    """Every method raises Transient where the database fails; `remove` takes an object out of the bucket."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def owed(self) -> RemovalsOwed:
        """What is still to be removed, claimed or not."""
        with reading(self._engine) as session:
            objects, oldest = session.execute(select(func.count(), func.min(RemovalRow.owed_at))).one()
        return RemovalsOwed(objects=objects, oldest=oldest)

    def work_off(self, remove: Remove) -> int:
        """Remove all that nobody else is removing, the oldest first; returns how many objects went.

        Raises:
            Transient: the bucket did not answer, as well; what is left stays owed.
        """
        removed = 0
        while claims := self._claim(limit=_BATCH):
            self._remove(claims, remove)
            removed += len(claims)
        return removed

    def wait_for(self, stored: StoredFile, remove: Remove) -> None:
        """Return once no removal of these very bytes is owed; one that nobody has taken up is done here.

        Raises:
            Transient: it takes too long, or the bucket does not answer.
        """
        gives_up_at = time.monotonic() + _WAIT_S
        while self._is_owed(stored.sha256):
            if claims := self._claim(limit=1, sha256=stored.sha256):
                self._remove(claims, remove)
            elif time.monotonic() > gives_up_at:
                raise Transient(Reason.STORE_UNAVAILABLE, "the same bytes are just being removed from the bucket")
            else:
                time.sleep(_LOOK_S)

    def _is_owed(self, sha256: str) -> bool:
        with reading(self._engine) as session:
            return session.scalar(select(RemovalRow.id).where(RemovalRow.sha256 == sha256)) is not None

    def _claim(self, *, limit: int, sha256: str | None = None) -> list[_Claim]:
        """Take up what nobody has in hand, or had in hand for so long that he is dead."""
        with writing(self._engine) as session:
            now = _now(session)
            free = or_(RemovalRow.claimed_until.is_(None), RemovalRow.claimed_until < now)
            wanted = [free] if sha256 is None else [free, RemovalRow.sha256 == sha256]
            first = select(RemovalRow).where(*wanted).order_by(RemovalRow.id).limit(limit)
            claims = []
            for row in session.scalars(first.with_for_update(skip_locked=True)):
                row.claims += 1
                row.claimed_until = now + _CLAIM
                stored = StoredFile(path=f"{row.sha256}.dcm", sha256=row.sha256, size=row.size)
                claims.append(_Claim(id=row.id, number=row.claims, stored=stored))
        return claims

    def _remove(self, claims: Sequence[_Claim], remove: Remove) -> None:
        """Remove what is claimed, then its rows; what can't be removed is free again, and the first trouble is told."""

        def attempt(claim: _Claim) -> Transient | None:
            try:
                remove(claim.stored)
            except Transient as trouble:
                return trouble
            return None

        with ThreadPoolExecutor(len(claims), thread_name_prefix="remove") as pool:
            outcomes = list(pool.map(attempt, claims))
        with writing(self._engine) as session:
            for claim, trouble in zip(claims, outcomes, strict=True):
                ours = (RemovalRow.id == claim.id, RemovalRow.claims == claim.number)
                if trouble is None:
                    session.execute(delete(RemovalRow).where(*ours))
                else:
                    session.execute(update(RemovalRow).where(*ours).values(claimed_until=None))
        for trouble in outcomes:
            if trouble is not None:
                raise trouble


def _now(session: Session) -> datetime:
    """By the database's clock, where it has one; else all who compare are on this machine."""
    if session.get_bind().dialect.name == "postgresql":
        shown: datetime = session.scalars(select(func.clock_timestamp())).one()
        return shown
    return datetime.now(UTC)


def _studies_of(session: Session, paths: Sequence[str]) -> list[int]:
    """In their order, which is the same for all who lock several."""
    images = select(SeriesRow.study_id).join(InstanceRow).where(InstanceRow.path.in_(paths))
    conflicts = select(ConflictRow.study_id).where(ConflictRow.path.in_(paths))
    return sorted({*session.scalars(images), *session.scalars(conflicts)})
