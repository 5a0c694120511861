"""How each destination does: what it took last, with which proof, what it is owed, and what stands in the way."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from ichd.domain.delivery import Proof
from ichd.domain.job import JobState
from ichd.domain.reason import Reason
from ichd.store.job_row import is_open
from ichd.store.tables import DestinationRow, JobRow, ReceiptRow, StatisticRow
from ichd.store.transaction import reading

#: Receipts have no index by destination: one that took nothing among so many has taken nothing for long.
_LATEST = 2_000
#: Reports of one destination, of each state.
AT_MOST = 10_000


@dataclass(frozen=True, kw_only=True)
class Outlet:
    """One destination."""

    name: str
    #: To the second among the latest receipts, else to the hour; None where it never took anything.
    last_success_at: datetime | None = None
    #: How sure we are of what it took lately: receipts by proof.
    proofs: Mapping[Proof, int] = field(default_factory=dict)
    #: Reports that wait or are on their way, and those that were given up; each at most `AT_MOST`.
    owed: int = 0
    dead: int = 0
    #: Failed attempts in a row.
    failures: int = 0
    #: Of the report that waits longest and was tried.
    reason: Reason | None = None
    #: It may name addresses.
    detail: str = ""


def outlets(engine: Engine, names: Collection[str]) -> list[Outlet]:
    """Those of some names, and whoever failed or is owed something beside them; by name.

    Raises:
        Transient: the database does not answer.
    """
    with reading(engine) as session:
        failures = {row.name: row.failures for row in session.scalars(select(DestinationRow))}
        counts = {state: _counts(session, state) for state in (JobState.QUEUED, JobState.LEASED, JobState.DEAD)}
        receipts = _receipts(session)
        known = {*names, *failures, *(name for owed in counts.values() for name in owed)}
        return [_outlet(session, name, failures.get(name, 0), counts, receipts) for name in sorted(known)]


def _outlet(
    session: Session,
    name: str,
    failures: int,
    counts: Mapping[JobState, Mapping[str, int]],
    receipts: Mapping[str, Mapping[Proof, tuple[datetime, int]]],
) -> Outlet:
    taken = receipts.get(name, {})
    last = max((at for at, _ in taken.values()), default=None)
    reason, detail = _obstacle(session, name)
    return Outlet(
        name=name,
        last_success_at=last or _hour_of_last(session, name),
        proofs={proof: count for proof, (_, count) in taken.items()},
        owed=counts[JobState.QUEUED].get(name, 0) + counts[JobState.LEASED].get(name, 0),
        dead=counts[JobState.DEAD].get(name, 0),
        failures=failures,
        reason=reason,
        detail=detail,
    )


def _counts(session: Session, state: JobState) -> dict[str, int]:
    some = select(JobRow.destination).where(is_open(state), JobRow.destination.is_not(None)).limit(AT_MOST)
    each = some.subquery()
    rows = session.execute(select(each.c.destination, func.count()).group_by(each.c.destination))
    return {destination: count for destination, count in rows if destination is not None}


def _receipts(session: Session) -> dict[str, dict[Proof, tuple[datetime, int]]]:
    newest = session.scalar(select(func.max(ReceiptRow.id))) or 0
    statement = (
        select(ReceiptRow.destination, ReceiptRow.proof, func.max(ReceiptRow.sent_at), func.count())
        .where(ReceiptRow.id > newest - _LATEST)
        .group_by(ReceiptRow.destination, ReceiptRow.proof)
    )
    taken: dict[str, dict[Proof, tuple[datetime, int]]] = {}
    for destination, proof, sent_at, count in session.execute(statement):
        taken.setdefault(destination, {})[proof] = (sent_at, count)
    return taken


def _hour_of_last(session: Session, name: str) -> datetime | None:
    return session.scalar(select(func.max(StatisticRow.at)).where(StatisticRow.name == f"deliveries_ok/{name}"))


def _obstacle(session: Session, name: str) -> tuple[Reason | None, str]:
    tried = (is_open(JobState.QUEUED), JobRow.destination == name, JobRow.reason.is_not(None))
    first = select(JobRow.reason, JobRow.detail).where(*tried).order_by(JobRow.order_at, JobRow.id).limit(1)
    row = session.execute(first).one_or_none()
    return (None, "") if row is None else (row.reason, row.detail)
