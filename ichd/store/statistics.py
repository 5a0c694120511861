"""Figures of each hour, for plots over years: what came, what came of it, how long it took, where it went.

They are counted once the hour is over, from what the tables say then; counting an hour again gives the same rows.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, Row, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ichd.domain.job import JobState
from ichd.domain.study import StudyState
from ichd.store.tables import FindingRow, JobRow, ReceiptRow, StatisticRow, StudyRow
from ichd.store.transaction import reading, writing

HOUR = timedelta(hours=1)
#: A transaction that was stamped within an hour may commit a little after it.
_SETTLED_AFTER = timedelta(minutes=1)
#: Hours that nobody counted, because no worker ran, are made up for.
_MAKE_UP = 48
#: There is no index over the time of receipts, and an hour has fewer than these.
_LATEST_RECEIPTS = 100_000
#: Rows of one transaction.
_BATCH = 2000
_ENDED = (StudyState.REPORTED, StudyState.NOT_ANALYSED, StudyState.FAILED)
#: Counted in every hour, so that it tells which hours were.
_MARK = "studies_received"


class Statistics:
    """The figures by name and begin of their period. Every method raises Transient where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def count_hours(self, *, now: datetime) -> int:
        """Count the hours that are over and were not counted; returns how many."""
        over = _hour_of(now - _SETTLED_AFTER)
        with reading(self._engine) as session:
            last = session.scalar(select(func.max(StatisticRow.at)).where(StatisticRow.name == _MARK))
        # The very first time, one hour: what was before is no business of a program that was not here.
        first = over - HOUR if last is None else max(last + HOUR, over - _MAKE_UP * HOUR)
        counted = 0
        while first < over:
            self._count(first)
            counted += 1
            first += HOUR
        return counted

    def record(self, figures: Mapping[str, float], *, at: datetime) -> None:
        """Keep figures of one period; those that are there already give way."""
        with writing(self._engine) as session:
            _put(session, figures, at)

    def record_latest(self, figures: Mapping[str, float], *, at: datetime) -> None:
        """Keep figures of which only the newest is of interest."""
        with writing(self._engine) as session:
            _put(session, figures, at)
            session.execute(
                delete(StatisticRow).where(StatisticRow.name.in_(figures), StatisticRow.at != at),
                execution_options={"synchronize_session": False},
            )

    def latest(self, name: str, *, since: datetime) -> dict[str, float]:
        """The newest value of each figure whose name is `name`, or begins with it and a slash; by what follows that."""
        end = chr(ord("/") + 1)
        within = or_(StatisticRow.name == name, StatisticRow.name.between(f"{name}/", f"{name}{end}"))
        statement = select(StatisticRow.name, StatisticRow.value).where(within, StatisticRow.at >= since)
        with reading(self._engine) as session:
            rows = session.execute(statement.order_by(StatisticRow.at)).all()
        return {row.name.removeprefix(name).removeprefix("/"): row.value for row in rows}

    def series(self, name: str, *, since: datetime, until: datetime) -> list[tuple[datetime, float]]:
        """A figure over time, oldest first."""
        span = (StatisticRow.name == name, StatisticRow.at >= since, StatisticRow.at < until)
        with reading(self._engine) as session:
            rows = session.execute(select(StatisticRow.at, StatisticRow.value).where(*span).order_by(StatisticRow.at))
            return [(row.at, row.value) for row in rows]

    def forget(self, *, before: datetime) -> int:
        """Remove what is older; returns how many."""
        old = select(StatisticRow.id).where(StatisticRow.at < before).limit(_BATCH)
        statement = delete(StatisticRow).where(StatisticRow.id.in_(old)).returning(StatisticRow.id)
        forgotten, gone = 0, _BATCH
        while gone == _BATCH:
            with writing(self._engine) as session:
                gone = len(session.scalars(statement, execution_options={"synchronize_session": False}).all())
            forgotten += gone
        return forgotten

    def _count(self, hour: datetime) -> None:
        with reading(self._engine) as session:
            figures = dict(_figures(session, hour))
        with writing(self._engine) as session:
            _put(session, figures, hour)


def _figures(session: Session, hour: datetime) -> Iterator[tuple[str, float]]:
    end = hour + HOUR
    came = select(func.count()).where(StudyRow.received_at >= hour, StudyRow.received_at < end)
    yield _MARK, session.scalar(came) or 0
    studies = _ended(session, hour)
    for state in _ENDED:
        yield f"studies_{state.value}", sum(study.state is state for study in studies)
    reported = [study for study in studies if study.state is StudyState.REPORTED]
    yield from _quantiles("latency", [_s(study.last_instance_at, study.finished_at) for study in reported])
    yield from _quantiles("queue_wait", [_s(study.ready_at, study.started_at) for study in reported])
    # Also of a study whose report was given up: the model spoke about it.
    for triage in sorted({study.triage for study in studies if study.triage is not None}):
        yield f"triage/{triage.value}", sum(study.triage is triage for study in studies)
    scores = [study.scan["any"] for study in studies if study.scan and "any" in study.scan]
    if scores:
        yield "mean_any", sum(scores) / len(scores)
    for row in _delivered(session, hour):
        yield f"deliveries_ok/{row.destination}", row.reports
    for lost in _dead(session, hour):
        yield f"deliveries_dead/{lost.destination}", lost.reports


def _ended(session: Session, hour: datetime) -> Sequence[Any]:
    """Studies that ended within an hour, with the finding of their revision."""
    # Two ranges of one index; the images of a study that ended within the hour may be dropped by now.
    here = or_(StudyRow.images_dropped_at.is_(None), StudyRow.images_dropped_at >= hour)
    statement = (
        select(
            StudyRow.state,
            StudyRow.last_instance_at,
            StudyRow.ready_at,
            StudyRow.started_at,
            StudyRow.finished_at,
            FindingRow.triage,
            FindingRow.scan,
        )
        .outerjoin(FindingRow, (FindingRow.study_id == StudyRow.id) & (FindingRow.revision == StudyRow.revision))
        .where(here, StudyRow.finished_at >= hour, StudyRow.finished_at < hour + HOUR)
    )
    return session.execute(statement).all()


def _delivered(session: Session, hour: datetime) -> Sequence[Row[str, int]]:
    newest = session.scalar(select(func.max(ReceiptRow.id))) or 0
    within = (ReceiptRow.sent_at >= hour, ReceiptRow.sent_at < hour + HOUR)
    statement = select(ReceiptRow.destination, func.count().label("reports")).group_by(ReceiptRow.destination)
    return session.execute(statement.where(ReceiptRow.id > newest - _LATEST_RECEIPTS, *within)).all()


def _dead(session: Session, hour: datetime) -> Sequence[Row[str | None, int]]:
    dead = (JobRow.state == JobState.DEAD, JobRow.destination.is_not(None))
    within = (JobRow.finished_at >= hour, JobRow.finished_at < hour + HOUR)
    statement = select(JobRow.destination, func.count().label("reports")).group_by(JobRow.destination)
    return session.execute(statement.where(*dead, *within)).all()


def _quantiles(name: str, values: Sequence[float | None]) -> Iterator[tuple[str, float]]:
    """The nearest rank: a value that really was."""
    known = sorted(value for value in values if value is not None)
    for percent in (50, 95, 99):
        if known:
            yield f"{name}_p{percent}_s", known[math.ceil(percent / 100 * len(known)) - 1]


def _s(begin: datetime | None, end: datetime | None) -> float | None:
    return None if begin is None or end is None else (end - begin).total_seconds()


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _put(session: Session, figures: Mapping[str, float], at: datetime) -> None:
    if not figures:
        return
    rows = [{"name": name, "at": at, "value": float(value)} for name, value in figures.items()]
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(StatisticRow).values(rows)
    session.execute(
        statement.on_conflict_do_update(index_elements=["name", "at"], set_={"value": statement.excluded.value})
    )
