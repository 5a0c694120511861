"""What each door says of itself: counts since its process began, as it wrote them down last."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ichd.store.statistics import Statistics

_FAMILY = "door"
#: Between a door and what it counts: a place has slashes of its own.
_BEHIND_PLACE = "//"
#: A door writes at least every few minutes; one that is silent for longer is shut.
CURRENT = timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True)
class DoorCounts:
    """Counts of one door."""

    #: Where it listens, by machine.
    place: str
    #: By the name that `ichd.intake.dimse.meter` gives them.
    counts: Mapping[str, float]


def write_door(statistics: Statistics, door: DoorCounts, *, now: datetime) -> None:
    """Write them down in place of what it said before.

    Raises:
        Transient: the database does not answer.
    """
    figures = {f"{_FAMILY}/{door.place}{_BEHIND_PLACE}{name}": count for name, count in door.counts.items()}
    statistics.record_latest(figures, at=now)


def read_doors(statistics: Statistics, *, now: datetime) -> list[DoorCounts]:
    """Those that are open, by place.

    Raises:
        Transient: the database does not answer.
    """
    doors: dict[str, dict[str, float]] = {}
    for name, count in statistics.latest(_FAMILY, since=now - CURRENT).items():
        place, _, what = name.partition(_BEHIND_PLACE)
        doors.setdefault(place, {})[what] = count
    return [DoorCounts(place=place, counts=counts) for place, counts in sorted(doors.items())]
