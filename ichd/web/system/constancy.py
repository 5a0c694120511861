"""Whether model and input are what they were: self-test, scores, input, and what readers say; a point a day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ichd.domain.drift import DriftLevel, level_of
from ichd.domain.finding import Triage
from ichd.domain.histogram import quantile, score_of
from ichd.domain.proportion import Proportion, proportion
from ichd.store.days import DRIFT, DRIFT_SPAN
from ichd.store.readings import INPUTS, REMARKS
from ichd.store.trends import Family, Trends
from ichd.web.system.span import DAY, Span, Steps, steps_of
from ichd.web.system.traffic import Course

DECILES = (10, 30, 50, 70, 90)
#: Words of one day are too few to say how many alarms are right.
WORDS_SPAN = 28 * DAY


@dataclass(frozen=True, kw_only=True)
class Share:
    """One kind of input: its share of the scans of the first weeks and of the last days, 0 to 1."""

    name: str
    at_first: float | None
    lately: float


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One property of the input, over time."""

    #: slices, thickness, kernel, source.
    name: str
    drift: Course
    #: The newest; None where there are too few scans to say.
    now: float | None
    level: DriftLevel | None
    shares: Sequence[Share]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How many findings of one triage readers found right, in the `WORDS_SPAN` up to each day."""

    course: Sequence[Proportion | None]
    now: Proportion | None


@dataclass(frozen=True, kw_only=True)
class Constancy:
    """Everything is in days of UTC."""

    days: Steps
    #: Largest change of a probability of the stored phantom, by machine.
    self_test: Mapping[str, Course]
    scans: Course
    #: Share of the day's scans, 0 to 1.
    triage: Mapping[str, Course]
    #: Probability of any haemorrhage below which so many percent of the day's scans lie.
    deciles: Mapping[int, Course]
    inputs: Sequence[Quantity]
    #: Coded notes on the input: share of the scans with each.
    remarks: Sequence[Share]
    #: Of urgent findings those with a haemorrhage, of routine ones those without.
    ppv: Agreement
    npv: Agreement
    #: Findings that readers spoke of in all these days, by triage; and scans that were read.
    words: Mapping[str, int]
    read: int


def constancy(trends: Trends, now: datetime) -> Constancy:
    """Read it.

    Raises:
        Transient: the database does not answer.
    """
    days = steps_of(Span.QUARTER, now)
    found = trends.days(
        ("triage", "any_bin", "words", REMARKS, *INPUTS), since=days.since - WORDS_SPAN, until=days.until
    )
    # Neither has hours: a test is noted at its moment, and a drift is one of a day.
    noted = trends.hours(["self_test_drift", DRIFT], since=days.since, until=days.until)
    triage = {level.value: days.gathered(found["triage"].get(level.value, ())) for level in Triage}
    scans = [_total(parts) for parts in zip(*triage.values(), strict=True)]
    words = {level: _span_words(found["words"], level, days) for level in Triage}
    return Constancy(
        days=days,
        self_test={machine: days.gathered(rows, max) for machine, rows in sorted(noted["self_test_drift"].items())},
        scans=scans,
        triage={
            level: [None if not of else (part or 0) / of for part, of in zip(parts, scans, strict=True)]
            for level, parts in triage.items()
        },
        deciles=_deciles(found["any_bin"], days),
        inputs=[_quantity(trends, family, found[family], noted[DRIFT], days) for family in INPUTS],
        remarks=_remarks(found[REMARKS], scans, days),
        ppv=_agreement(found["words"], Triage.URGENT, days),
        npv=_agreement(found["words"], Triage.ROUTINE, days),
        words={level.value: words[level] for level in Triage},
        read=round(sum(count or 0 for count in scans)),
    )


def _total(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _deciles(family: Family, days: Steps) -> dict[int, Course]:
    bins: list[dict[int, float]] = [{} for _ in days.begins]
    for name, rows in family.items():
        for day, count in zip(bins, days.gathered(rows), strict=True):
            if count is not None:
                day[int(name)] = count

    def at(day: Mapping[int, float], percent: int) -> float | None:
        bin_ = quantile(day, percent / 100)
        return None if bin_ is None else score_of(bin_)

    return {percent: [at(day, percent) for day in bins] for percent in DECILES}


def _quantity(trends: Trends, family: str, kinds: Family, drifts: Family, days: Steps) -> Quantity:
    name = family.removeprefix("input_")
    course = days.gathered(drifts.get(name, ()), max)
    now = next((value for value in reversed(course[-2:]) if value is not None), None)
    lately = {each: _lately(rows, days) for each, rows in kinds.items()}
    reference = trends.reference(family, until=days.until)
    return Quantity(
        name=name,
        drift=course,
        now=now,
        level=None if now is None else level_of(now),
        shares=_shares(reference, {each: count for each, count in lately.items() if count}),
    )


def _shares(reference: Mapping[str, float], lately: Mapping[str, float]) -> list[Share]:
    at_first, now = sum(reference.values()), sum(lately.values())
    shares = [
        Share(
            name=name,
            at_first=reference.get(name, 0.0) / at_first if at_first else None,
            lately=lately.get(name, 0.0) / now if now else 0.0,
        )
        for name in {*reference, *lately}
    ]
    return sorted(shares, key=lambda share: (-share.lately, -(share.at_first or 0.0), share.name))


def _remarks(family: Family, scans: Course, days: Steps) -> list[Share]:
    recent = sum(count or 0 for count in scans[-(DRIFT_SPAN // DAY) :])
    before = sum(count or 0 for count in scans)
    shares = [
        Share(
            name=code,
            at_first=sum(value for at, value in rows if at >= days.since) / before if before else None,
            lately=_lately(rows, days) / recent if recent else 0.0,
        )
        for code, rows in family.items()
    ]
    return sorted(shares, key=lambda share: (-share.lately, share.name))


def _lately(rows: Sequence[tuple[datetime, float]], days: Steps) -> float:
    return sum(value for at, value in rows if at >= days.until - DRIFT_SPAN)


def _span_words(family: Family, triage: Triage, days: Steps) -> int:
    rows = (*family.get(f"{triage.value}/right", ()), *family.get(f"{triage.value}/wrong", ()))
    return round(sum(value for at, value in rows if at >= days.since))


def _agreement(family: Family, triage: Triage, days: Steps) -> Agreement:
    right, wrong = (family.get(f"{triage.value}/{word}", ()) for word in ("right", "wrong"))

    def until(day: datetime) -> Proportion | None:
        hits, misses = (
            round(sum(value for at, value in rows if day - WORDS_SPAN < at <= day)) for rows in (right, wrong)
        )
        return proportion(hits, hits + misses)

    course = [until(day) for day in days.begins]
    return Agreement(course=course, now=course[-1])
