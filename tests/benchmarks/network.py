"""What forty hospitals send in a day: Poisson arrivals that follow the hours, and backlogs that come at once."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from ichd.domain.finding import Triage

HOSPITALS = 40
STUDIES_A_DAY = 10_000
_HOUR_S = 3600.0
#: Share of a day's studies by the hour: emergency rooms are fullest in the afternoon, and never empty.
_HOURS = (
    2.6,
    2.2,
    1.9,
    1.7,
    1.7,
    1.9,
    2.4,
    3.4,
    4.6,
    5.4,
    5.8,
    5.9,
    5.8,
    5.8,
    5.9,
    5.9,
    5.8,
    5.6,
    5.3,
    5.0,
    4.6,
    4.2,
    3.6,
    3.0,
)
#: Of the studies, those that a scanner or a link held back and sends in one go.
_BACKLOG_SHARE = 0.2
_BACKLOG_S = 60.0
#: Of the studies that are read, those that get a late slice and are read again.
_LATE_SHARE = 0.05
_TRIAGE = {Triage.URGENT: 0.12, Triage.INDETERMINATE: 0.08, Triage.ROUTINE: 0.80}
#: Spread of reading times: thin scans take several times as long as thick ones.
_SPREAD = 0.5


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A study that is complete at a moment, and what a reading of it will be like."""

    #: Seconds since midnight.
    at_s: float
    triage: Triage
    #: Times the mean.
    reading: float
    #: Seconds after its report at which a late slice comes; None where none does.
    late_after_s: float | None


def arrivals(chance: random.Random, *, first_hour: int = 0, hours: float = 24) -> list[Arrival]:
    """Those of some hours of a day, in the order of their coming."""
    moments = [*_one_by_one(chance, first_hour, hours), *_backlogs(chance, first_hour, hours)]
    return [_arrival(chance, at_s) for at_s in sorted(moments)]


def _one_by_one(chance: random.Random, first_hour: int, hours: float) -> Iterator[float]:
    end = first_hour + hours
    for hour in range(first_hour, math.ceil(end)):
        rate = (1 - _BACKLOG_SHARE) * STUDIES_A_DAY * _HOURS[hour % 24] / sum(_HOURS) / _HOUR_S
        at_s = hour * _HOUR_S + chance.expovariate(rate)
        while at_s < min(hour + 1, end) * _HOUR_S:
            yield at_s
            at_s += chance.expovariate(rate)


def _backlogs(chance: random.Random, first_hour: int, hours: float) -> Iterator[float]:
    """Each hospital has one a day, at any hour."""
    of_each = round(_BACKLOG_SHARE * STUDIES_A_DAY / HOSPITALS)
    for _ in range(HOSPITALS):
        begin_s = chance.uniform(0.0, 24 * _HOUR_S)
        if first_hour * _HOUR_S <= begin_s < (first_hour + hours) * _HOUR_S:
            yield from (begin_s + chance.uniform(0.0, _BACKLOG_S) for _ in range(of_each))


def _arrival(chance: random.Random, at_s: float) -> Arrival:
    (triage,) = chance.choices(list(_TRIAGE), list(_TRIAGE.values()))
    is_late = chance.random() < _LATE_SHARE
    return Arrival(
        at_s=at_s,
        triage=triage,
        # Of mean 1, whatever the spread.
        reading=math.exp(chance.gauss(-(_SPREAD**2) / 2, _SPREAD)),
        late_after_s=chance.uniform(30.0, 1200.0) if is_late else None,
    )
