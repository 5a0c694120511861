"""Figures by name and begin of their period: how they are written, and found again however many there are.

The only index is that over name and time. Whoever wants some hours of many figures first asks for their names, which
are few, and then for these hours of each; else a family of figures over two years would be read for one day of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from ichd.store.tables import StatisticRow

#: More than all families have together; where somebody fills the table with names, the page is none the slower.
_MOST_NAMES = 2000


def put(session: Session, figures: Mapping[str, float], at: datetime) -> None:
    """Write figures of one period; those that are there already give way."""
    if not figures:
        return
    rows = [{"name": name, "at": at, "value": float(value)} for name, value in figures.items()]
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(StatisticRow).values(rows)
    session.execute(
        statement.on_conflict_do_update(index_elements=["name", "at"], set_={"value": statement.excluded.value})
    )


def names_of(session: Session, family: str) -> list[str]:
    """Names that are `family`, or begin with it and a slash; one step into the index for each."""
    end = family + chr(ord("/") + 1)
    first = select(func.min(StatisticRow.name).label("name")).where(StatisticRow.name.between(f"{family}/", end))
    walk = first.cte("walk", recursive=True)
    later = aliased(StatisticRow)
    following = select(func.min(later.name)).where(later.name > walk.c.name, later.name < end).scalar_subquery()
    walk = walk.union_all(select(following).where(walk.c.name.is_not(None)))
    found = session.scalars(select(walk.c.name).where(walk.c.name.is_not(None)).limit(_MOST_NAMES)).all()
    alone = session.scalars(select(StatisticRow.name).where(StatisticRow.name == family).limit(1)).all()
    return [*alone, *found]


def families_of(
    session: Session, families: Iterable[str], *, since: datetime, until: datetime
) -> dict[str, dict[str, list[tuple[datetime, float]]]]:
    """Figures from `since` on and before `until`, oldest first: by family and by what follows its slash."""
    named = {family: names_of(session, family) for family in families}
    rows = _rows(session, [name for names in named.values() for name in names], since, until)
    return {
        family: {name.removeprefix(family).removeprefix("/"): rows[name] for name in names if name in rows}
        for family, names in named.items()
    }


def _rows(
    session: Session, names: Sequence[str], since: datetime, until: datetime
) -> dict[str, list[tuple[datetime, float]]]:
    rows: dict[str, list[tuple[datetime, float]]] = {}
    if not names:
        return rows
    span: Select[str, datetime, float] = (
        select(StatisticRow.name, StatisticRow.at, StatisticRow.value)
        .where(StatisticRow.name.in_(names), StatisticRow.at >= since, StatisticRow.at < until)
        .order_by(StatisticRow.name, StatisticRow.at)
    )
    for name, at, value in session.execute(span):
        rows.setdefault(name, []).append((at, value))
    return rows
