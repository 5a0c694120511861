"""Days out of hours: sums and peaks of a day, so that a plot over months reads a point a day; and the drift of input.

A day is one of UTC. The present one is counted anew with each hour, so that its last point is always the whole of it.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from ichd.domain.drift import FEWEST_AT_FIRST, drift
from ichd.domain.histogram import added
from ichd.store.figures import families_of, names_of, put
from ichd.store.readings import INPUTS, MODELS, REMARKS
from ichd.store.tables import StatisticRow
from ichd.store.transaction import reading, writing

DAY = timedelta(days=1)
PREFIX = "day/"
#: Families whose hours add up.
SUMS = (
    "studies_received",
    "studies_reported",
    "studies_not_analysed",
    "studies_failed",
    "latency_bin",
    "triage",
    "any_bin",
    "words",
    "deliveries_ok",
    "deliveries_dead",
    *INPUTS,
    REMARKS,
    MODELS,
)
#: Families of which the worst counts.
PEAKS = ("queue_peak", "wait_peak_s", "owed_peak", "failures_peak", "disk_used", "self_test_drift")
DRIFT = "input_drift"
#: The first weeks that the present is held against, kept for ever.
REFERENCE = "reference/"
REFERENCE_SPAN = timedelta(days=28)
#: What came lately: the days up to the one that it is said of.
DRIFT_SPAN = timedelta(days=7)


def count_day(engine: Engine, day: datetime) -> None:
    """Count the day that begins at `day` from its hours, and how far its input has drifted by then.

    Raises:
        Transient: the database does not answer.
    """
    with reading(engine) as session:
        figures = dict(_of_day(session, day))
    with writing(engine) as session:
        put(session, figures, day)
    with reading(engine) as session:
        references = {family: _reference(session, family, day) for family in INPUTS}
    with writing(engine) as session:
        for family, (at, counts, known) in references.items():
            if not known and counts:
                put(session, {f"{REFERENCE}{family}/{name}": count for name, count in counts.items()}, at)
    with reading(engine) as session:
        drifts = dict(_drifts(session, day, {family: counts for family, (_, counts, _) in references.items()}))
    with writing(engine) as session:
        put(session, drifts, day)


def day_of(moment: datetime) -> datetime:
    """Its begin."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _of_day(session: Session, day: datetime) -> Iterator[tuple[str, float]]:
    hours = families_of(session, (*SUMS, *PEAKS), since=day, until=day + DAY)
    for family, members in hours.items():
        for name, rows in members.items():
            values = [value for _, value in rows]
            yield f"{PREFIX}{family}" + (f"/{name}" if name else ""), max(values) if family in PEAKS else sum(values)


def _reference(session: Session, family: str, day: datetime) -> tuple[datetime, dict[str, float], bool]:
    """Since when, what, and whether it stands already; it is empty until the first weeks are over."""
    begin = datetime.min.replace(tzinfo=day.tzinfo)
    kept = families_of(session, [f"{REFERENCE}{family}"], since=begin, until=day + DAY)[f"{REFERENCE}{family}"]
    if kept:
        return day, {name: rows[-1][1] for name, rows in kept.items()}, True
    names = names_of(session, f"{PREFIX}{family}")
    first = session.scalar(select(func.min(StatisticRow.at)).where(StatisticRow.name.in_(names))) if names else None
    if first is None or first + REFERENCE_SPAN > day:
        return day, {}, False
    counts = _sums(session, family, since=first, until=day)
    return first, counts if sum(counts.values()) >= FEWEST_AT_FIRST else {}, False


def _drifts(
    session: Session, day: datetime, references: Mapping[str, Mapping[str, float]]
) -> Iterator[tuple[str, float]]:
    for family in INPUTS:
        present = _sums(session, family, since=day - DRIFT_SPAN + DAY, until=day + DAY)
        value = drift(references[family], present)
        if value is not None:
            yield f"{DRIFT}/{family.removeprefix('input_')}", value


def _sums(session: Session, family: str, *, since: datetime, until: datetime) -> dict[str, float]:
    members = families_of(session, [f"{PREFIX}{family}"], since=since, until=until)[f"{PREFIX}{family}"]
    return added({name: value} for name, rows in members.items() for _, value in rows)
