"""Figures over time for those who look: of hours, of days, and of all time that is kept."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, select

from ichd.store.days import PREFIX, REFERENCE
from ichd.store.figures import families_of, names_of
from ichd.store.readings import MODELS
from ichd.store.tables import StatisticRow
from ichd.store.transaction import reading

#: By what follows the family's name: its values, oldest first.
Family = Mapping[str, Sequence[tuple[datetime, float]]]


@dataclass(frozen=True, kw_only=True)
class ModelAtWork:
    """When a model read, to the day."""

    #: Name, version, and the first digits of the bundle.
    name: str
    first_at: datetime
    last_at: datetime
    studies: int


class Trends:
    """Every method raises Transient where the database does not answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def hours(self, families: Collection[str], *, since: datetime, until: datetime) -> dict[str, Family]:
        """Figures of hours that begin within a span, by family."""
        with reading(self._engine) as session:
            return dict(families_of(session, families, since=since, until=until))

    def days(self, families: Collection[str], *, since: datetime, until: datetime) -> dict[str, Family]:
        """Figures of days of UTC that begin within a span, by family."""
        with reading(self._engine) as session:
            found = families_of(session, [PREFIX + family for family in families], since=since, until=until)
        return {name.removeprefix(PREFIX): family for name, family in found.items()}

    def reference(self, family: str, *, until: datetime) -> dict[str, float]:
        """What came in the first weeks; empty until they are over."""
        begin = datetime.min.replace(tzinfo=until.tzinfo)
        with reading(self._engine) as session:
            found = families_of(session, [REFERENCE + family], since=begin, until=until)[REFERENCE + family]
        return {name: rows[-1][1] for name, rows in found.items()}

    def models(self) -> list[ModelAtWork]:
        """Who has read, the newest first."""
        with reading(self._engine) as session:
            statement = (
                select(
                    StatisticRow.name,
                    func.min(StatisticRow.at).label("first_at"),
                    func.max(StatisticRow.at).label("last_at"),
                    func.sum(StatisticRow.value).label("studies"),
                )
                .where(StatisticRow.name.in_(names_of(session, PREFIX + MODELS)))
                .group_by(StatisticRow.name)
            )
            rows = session.execute(statement).all()
        models = [
            ModelAtWork(
                name=row.name.removeprefix(f"{PREFIX}{MODELS}/"),
                first_at=row.first_at,
                last_at=row.last_at,
                studies=round(row.studies),
            )
            for row in rows
        ]
        return sorted(models, key=lambda model: (model.last_at, model.first_at), reverse=True)
