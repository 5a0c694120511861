"""A clock that is set back leaves times behind that lie further ahead than anything of ours writes them.

By such a time a lease would never run out, a retry never come, a study never be quiet: for as long as the step was.
A step forward needs no mending: leases run out early, and whoever held one is not heard when it completes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """How far ahead of the present moment a time may lie that was written by a right clock."""

    #: End of a lease.
    lease: timedelta
    #: Next attempt or next look at a proof, whichever may be later.
    wait: timedelta
    #: Reopening of a destination that failed.
    pause: timedelta


def lease_end(until: datetime, horizon: Horizon, now: datetime) -> datetime:
    """The end of a lease, no later than that of one that is given this moment."""
    return min(until, now + horizon.lease)


def is_astray(moment: datetime, reach: timedelta, now: datetime) -> bool:
    """Whether no right clock wrote it; how much of the wait was meant nobody knows, so that it is over."""
    return moment > now + reach


def has_been(moment: datetime, now: datetime) -> datetime:
    """Something that happened, no later than now."""
    return min(moment, now)
