"""A worklist that is filtered, searched and paged: every page costs the same, however many studies there are.

Pages follow one another by what the last one ended with, never by a number of lines to be skipped. A search reads an
index of what begins so; where that is half of all studies, it looks through the list instead, a stretch for each page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, func, literal_column, or_, select, text, true, union, union_all
from sqlalchemy.orm import Session

from ichd.domain.finding import Triage
from ichd.domain.study import StudyState
from ichd.store.listing import StudySummary, summaries_of
from ichd.store.prefix import begins, folded
from ichd.store.tables import StudyRow
from ichd.store.transaction import reading
from ichd.store.worklist_order import ON_TOP_FOR, Cursor, Order, Part, behind, parts, standings_of

#: Studies that begin with a searched text, up to which they are looked up one by one.
_FEW = 1000
#: Lines of the list that one page of a search looks through where more begin so.
_STRETCH = 1000
#: Up to which studies are counted.
MOST_COUNTED = 1000


@dataclass(frozen=True, kw_only=True)
class WorklistQuery:
    """What somebody wants to see."""

    #: What an accession number or a Study Instance UID begins with; empty for any.
    text: str = ""
    #: Any of them; none means all.
    states: frozenset[StudyState] = frozenset()
    triages: frozenset[Triage] = frozenset()
    #: Of the arrival of the first image; `since` is included, `until` is not.
    since: datetime | None = None
    until: datetime | None = None
    order: Order = Order.NEWEST
    after: Cursor | None = None
    limit: int = 50

    @property
    def is_narrow(self) -> bool:
        """Whether it leaves any study out."""
        return bool(self.text or self.states or self.triages or self.since or self.until)


@dataclass(frozen=True, kw_only=True)
class WorklistPage:
    """Some studies of a list."""

    studies: tuple[StudySummary, ...]
    #: Where the next page begins; None after the last one.
    next: Cursor | None
    #: Fewer than were asked for, though there may be more: a search goes on with the next page.
    is_unfinished: bool = False


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many studies there are by state and by triage, at most `MOST_COUNTED` of each."""

    by_state: Mapping[StudyState, int]
    by_triage: Mapping[Triage, int]


_UID = StudyRow.study_instance_uid
_ANY: ColumnElement[bool] = true()

#: A study's place: the part of the list, when it arrived, and which it is.
_Place = tuple[int, datetime, int]


class Worklist:
    """Every method raises Transient where the database does not answer."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def page(self, query: WorklistQuery, *, now: datetime) -> WorklistPage:
        """The studies behind `query.after`."""
        on_top_since = query.after.on_top_since if query.after else now - ON_TOP_FOR
        with reading(self.engine) as session:
            _plan_for_values(session)
            places, rest = _places(session, query, on_top_since)
            shown = places[: query.limit]
            studies = summaries_of(session, _rows(session, [place[2] for place in shown]))
        last = shown[-1] if len(places) > query.limit else rest
        cursor = last and Cursor(part=last[0], received_at=last[1], study_id=last[2], on_top_since=on_top_since)
        return WorklistPage(
            studies=tuple(studies), next=cursor, is_unfinished=rest is not None and len(places) <= query.limit
        )

    def counts(self, query: WorklistQuery) -> Counts:
        """Of the time that is asked for, whatever else is."""
        cells = [(triage, state) for triage in (*Triage, None) for state in StudyState]
        columns = [
            select(func.count()).select_from(_some(query, triage, state).subquery()).scalar_subquery()
            for triage, state in cells
        ]
        with reading(self.engine) as session:
            _plan_for_values(session)
            numbers = dict(zip(cells, session.execute(select(*columns)).one(), strict=True))
        by_state = {state: sum(n for cell, n in numbers.items() if cell[1] is state) for state in StudyState}
        by_triage = {triage: sum(n for cell, n in numbers.items() if cell[0] is triage) for triage in Triage}
        return Counts(
            by_state={state: min(count, MOST_COUNTED) for state, count in by_state.items()},
            by_triage={triage: min(count, MOST_COUNTED) for triage, count in by_triage.items()},
        )

    def is_empty(self) -> bool:
        """Whether no study ever arrived."""
        with reading(self.engine) as session:
            return session.scalars(select(StudyRow.id).limit(1)).first() is None


def _plan_for_values(session: Session) -> None:
    """Have PostgreSQL plan each statement for what is asked, as long as the transaction lasts.

    A statement that is said often gets one plan for any values. What is right for the many that are routine looks
    through half a million studies for the few that are urgent: 600 ms instead of 2.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))


def _places(session: Session, query: WorklistQuery, on_top_since: datetime) -> tuple[list[_Place], _Place | None]:
    """One place more than a page takes; and up to which a search has looked, where it has not looked through all."""
    if not query.text:
        return [place for place, _ in _scan(session, query, on_top_since, query.limit + 1)], None
    dialect = session.get_bind().dialect.name
    few = _beginning(session, query.text, dialect)
    if len(few) <= _FEW:
        return [place for place, _ in _scan(session, query, on_top_since, query.limit + 1, few=few)], None
    fits = or_(begins(StudyRow.accession_key, folded(query.text), dialect), begins(_UID, query.text, dialect))
    stretch = _scan(session, query, on_top_since, _STRETCH, fits=fits)
    return [place for place, is_one in stretch if is_one], stretch[-1][0] if len(stretch) == _STRETCH else None


def _scan(
    session: Session,
    query: WorklistQuery,
    on_top_since: datetime,
    limit: int,
    *,
    few: Sequence[int] | None = None,
    fits: ColumnElement[bool] = _ANY,
) -> list[tuple[_Place, bool]]:
    """The list from the cursor on, of `few` studies or of all, with whether each fits."""
    standings = standings_of(query.states, query.triages)
    sections = parts(query.order, standings, since=query.since, before=query.until, on_top_since=on_top_since)
    first = query.after.part if query.after else 0
    places: list[tuple[_Place, bool]] = []
    for number, part in enumerate(sections[first:], start=first):
        after = []
        if query.after and number == first:
            # The earlier of two bounds alone: SQLite would take either for its index, and walk from there.
            after, part = [behind(query.after)], replace(part, before=None)  # noqa: PLW2901
        branches = [[branch] for branch in part.branches()]
        if few is not None and branches:
            # No range of an index beats a list of ids, which need not be said for each.
            branches = [[or_(*(branch for (branch,) in branches)), StudyRow.id.in_(few)]]
        rows = _merged(session, [[*branch, *after] for branch in branches], fits, limit - len(places))
        places += [((number, row.received_at, row.id), row.fits) for row in rows]
        if len(places) == limit:
            break
    return places


def _merged(
    session: Session, branches: Sequence[Sequence[ColumnElement[bool]]], fits: ColumnElement[bool], limit: int
) -> Sequence[Row[int, datetime, bool]]:
    """Each branch is sorted by its index; at most so many of each are merged."""
    newest_first = (StudyRow.received_at.desc(), StudyRow.id.desc())
    columns = (StudyRow.id, StudyRow.received_at, fits.label("fits"))
    ranges = [select(*columns).where(*branch).order_by(*newest_first).limit(limit) for branch in branches]
    if not ranges:
        return []
    if len(ranges) == 1:
        return session.execute(ranges[0]).all()
    merged = union_all(*(select(each.subquery()) for each in ranges)).subquery()
    statement = select(merged).order_by(merged.c.received_at.desc(), merged.c.id.desc()).limit(limit)
    return session.execute(statement).all()


def _beginning(session: Session, text: str, dialect: str) -> list[int]:
    """Ids of studies that begin so; one more than are few where there are more."""
    either = [
        select(select(StudyRow.id).where(begins(column, words, dialect)).limit(_FEW + 1).subquery())
        for column, words in ((StudyRow.accession_key, folded(text)), (_UID, text))
    ]
    return list(session.scalars(union(*either)))


def _some(query: WorklistQuery, triage: Triage | None, state: StudyState) -> Any:
    """Rows to count."""
    part = Part(standings=frozenset({(triage, state)}), since=query.since, before=query.until)
    (branch,) = part.branches()
    return select(literal_column("1").label("one")).select_from(StudyRow).where(branch).limit(MOST_COUNTED)


def _rows(session: Session, ids: Sequence[int]) -> list[StudyRow]:
    rows = {row.id: row for row in session.scalars(select(StudyRow).where(StudyRow.id.in_(ids)))}
    return [rows[study_id] for study_id in ids]
