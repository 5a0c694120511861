"""Figures of each hour, for plots over years: what came, what came of it, how long it took, where it went.

They are counted once the hour is over, from what the tables say then; counting an hour again gives the same rows.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Engine, delete, func, or_, select

from ichd.store.days import REFERENCE, count_day, day_of
from ichd.store.figures import put
from ichd.store.hours import HOUR, MARK, figures_of_hour
from ichd.store.tables import StatisticRow
from ichd.store.transaction import reading, writing

__all__ = ["HOUR", "Statistics", "hour_of"]

#: A transaction that was stamped within an hour may commit a little after it.
_SETTLED_AFTER = timedelta(minutes=1)
#: Hours that nobody counted, because no worker ran, are made up for.
_MAKE_UP = 48
#: Rows of one transaction.
_BATCH = 2000


class Statistics:
    """The figures by name and begin of their period. Every method raises Transient where the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def count_hours(self, *, now: datetime) -> int:
        """Count the hours that are over and were not counted, and their days; returns how many hours."""
        over = hour_of(now - _SETTLED_AFTER)
        with reading(self._engine) as session:
            last = session.scalar(select(func.max(StatisticRow.at)).where(StatisticRow.name == MARK))
        # The very first time, one hour: what was before is no business of a program that was not here.
        first = over - HOUR if last is None else max(last + HOUR, over - _MAKE_UP * HOUR)
        counted = 0
        while first < over:
            self._count(first)
            counted += 1
            first += HOUR
            # With the last hour of each day, and with the last of all.
            if first == over or first == day_of(first):
                count_day(self._engine, day_of(first - HOUR))
        return counted

    def record(self, figures: Mapping[str, float], *, at: datetime) -> None:
        """Keep figures of one period; those that are there already give way."""
        with writing(self._engine) as session:
            put(session, figures, at)

    def record_peaks(self, figures: Mapping[str, float], *, at: datetime) -> None:
        """Keep figures of one period of which the highest counts."""
        with writing(self._engine) as session:
            there = select(StatisticRow.name, StatisticRow.value).where(
                StatisticRow.name.in_(figures), StatisticRow.at == at
            )
            before = {row.name: row.value for row in session.execute(there)}
            put(session, {name: max(value, before.get(name, value)) for name, value in figures.items()}, at)

    def record_latest(self, figures: Mapping[str, float], *, at: datetime) -> None:
        """Keep figures of which only the newest is of interest."""
        with writing(self._engine) as session:
            put(session, figures, at)
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
        """Remove what is older, but for what the present is held against; returns how many."""
        aged = (StatisticRow.at < before, ~StatisticRow.name.startswith(REFERENCE, autoescape=True))
        old = select(StatisticRow.id).where(*aged).limit(_BATCH)
        statement = delete(StatisticRow).where(StatisticRow.id.in_(old)).returning(StatisticRow.id)
        forgotten, gone = 0, _BATCH
        while gone == _BATCH:
            with writing(self._engine) as session:
                gone = len(session.scalars(statement, execution_options={"synchronize_session": False}).all())
            forgotten += gone
        return forgotten

    def _count(self, hour: datetime) -> None:
        with reading(self._engine) as session:
            figures = dict(figures_of_hour(session, hour))
        with writing(self._engine) as session:
            put(session, figures, hour)


def hour_of(moment: datetime) -> datetime:
    """Its begin."""
    return moment.replace(minute=0, second=0, microsecond=0)
