"""What came of the phantom that takes the live route by the clock, among the figures."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ichd.store.statistics import Statistics

#: By destination: seconds from the last image to the report at the archive; 1 or 0; seconds since 1970.
_TOOK, _PASSED, _AT = "commission_s", "commission_passed", "commission_at"


@dataclass(frozen=True, kw_only=True)
class Commissioned:
    """The last run to one destination."""

    at: datetime
    passed: bool
    #: From the last image to the report at the archive, of the last run whose report came there; None before that.
    took_s: float | None


def note_commission(
    statistics: Statistics, destination: str, *, passed: bool, took_s: float | None, now: datetime
) -> None:
    """Write down how a run went; `took_s` is None where the report did not come to the archive.

    Raises:
        Transient: the database fails.
    """
    figures = {f"{_PASSED}/{destination}": float(passed), f"{_AT}/{destination}": now.timestamp()}
    if took_s is not None:
        figures[f"{_TOOK}/{destination}"] = took_s
    statistics.record(figures, at=now)


def last_commission(statistics: Statistics, destination: str, *, since: datetime) -> Commissioned | None:
    """How the newest run `since` then went; None where there was none.

    Raises:
        Transient: the database fails.
    """
    found = {name: statistics.latest(f"{name}/{destination}", since=since).get("") for name in (_TOOK, _PASSED, _AT)}
    at, passed = found[_AT], found[_PASSED]
    if at is None or passed is None:
        return None
    return Commissioned(at=datetime.fromtimestamp(at, UTC), passed=bool(passed), took_s=found[_TOOK])
