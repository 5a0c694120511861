"""What came, how long it took, and where it went, in the steps of a span."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ichd.domain.histogram import added, duration_of, quantile
from ichd.domain.job import JobKind
from ichd.store.trends import Family, Trends
from ichd.web.system.span import HOUR, Span, Steps, steps_of

#: A value a step; None where nothing was counted.
Course = Sequence[float | None]

COUNTS = ("studies_received", "studies_reported", "studies_not_analysed", "studies_failed")
PERCENTILES = (50, 95, 99)
_FAMILIES = (
    *COUNTS,
    "latency_bin",
    "queue_peak",
    "wait_peak_s",
    "deliveries_ok",
    "deliveries_dead",
    "owed_peak",
    "disk_used",
)


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Everything is in the steps of `steps`."""

    span: Span
    steps: Steps
    #: By kind of job: the most that waited or were under way at once, and the longest wait, s.
    queue_peak: Mapping[str, Course]
    longest_wait_s: Mapping[str, Course]
    #: Studies an hour, by what became of them.
    per_hour: Mapping[str, Course]
    #: Last image to report, s, by percentile; over the whole span beside.
    latency_s: Mapping[int, Course]
    latency_of_span_s: Mapping[int, float | None]
    #: Studies over the whole span.
    totals: Mapping[str, float]
    #: Reports that each destination took, and that were given up.
    delivered: Mapping[str, Course]
    given_up: Mapping[str, float]
    owed_peak: Mapping[str, Course]
    #: Used share of the spool's disk, by machine.
    disk_used: Mapping[str, Course]


def traffic(trends: Trends, span: Span, now: datetime) -> Traffic:
    """Read it.

    Raises:
        Transient: the database does not answer.
    """
    steps = steps_of(span, now)
    read = trends.days if span is Span.QUARTER else trends.hours
    found = read(_FAMILIES, since=steps.since, until=steps.until)
    bins = _latency_bins(found["latency_bin"], steps)
    whole = added({str(bin_): count for bin_, count in step.items()} for step in bins)
    return Traffic(
        span=span,
        steps=steps,
        queue_peak=_by_kind(found["queue_peak"], steps),
        longest_wait_s=_by_kind(found["wait_peak_s"], steps),
        per_hour={name: _per_hour(found[name], steps, now) for name in COUNTS},
        latency_s={percent: [_latency(step, percent) for step in bins] for percent in PERCENTILES},
        latency_of_span_s={
            percent: _latency({int(bin_): count for bin_, count in whole.items()}, percent) for percent in PERCENTILES
        },
        totals={name: sum(value for _, value in found[name].get("", ())) for name in COUNTS},
        delivered=_courses(found["deliveries_ok"], steps),
        given_up={name: sum(value for _, value in rows) for name, rows in found["deliveries_dead"].items()},
        owed_peak=_courses(found["owed_peak"], steps, peak=True),
        disk_used=_courses(found["disk_used"], steps, peak=True),
    )


def _courses(family: Family, steps: Steps, *, peak: bool = False) -> dict[str, Course]:
    return {name: steps.gathered(rows, max if peak else sum) for name, rows in sorted(family.items())}


def _by_kind(family: Family, steps: Steps) -> dict[str, Course]:
    return {kind.value: steps.gathered(family.get(kind.value, ()), max) for kind in JobKind}


def _per_hour(family: Family, steps: Steps, now: datetime) -> Course:
    """By the hours that are over: the present one is not counted yet."""
    over = now.replace(minute=0, second=0, microsecond=0)
    course: list[float | None] = []
    for begin, value in zip(steps.begins, steps.gathered(family.get("", ())), strict=True):
        hours = (min(begin + steps.step, over) - begin) / HOUR
        course.append(None if value is None or hours <= 0 else value / hours)
    return course


def _latency_bins(family: Family, steps: Steps) -> list[dict[int, float]]:
    bins: list[dict[int, float]] = [{} for _ in steps.begins]
    for name, rows in family.items():
        for step, count in zip(bins, steps.gathered(rows), strict=True):
            if count is not None:
                step[int(name)] = count
    return bins


def _latency(bins: Mapping[int, float], percent: int) -> float | None:
    bin_ = quantile(bins, percent / 100)
    return None if bin_ is None else duration_of(bin_)
