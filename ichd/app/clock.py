"""The one place where the composition asks what time it is; every room is told."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from ichd.domain.errors import UserError
from ichd.store.database_clock import DatabaseClock

Clock = Callable[[], datetime]

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([mhd])")


def utc_now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def clock_of(engine: Engine) -> Clock:
    """By which times are stored and compared: PostgreSQL's own, since several machines write; else this machine's.

    Raises:
        Transient: the database does not answer.
    """
    return DatabaseClock(engine) if engine.dialect.name == "postgresql" else utc_now


def ago(since: str, now: datetime) -> datetime:
    """The moment that `--since` means.

    Raises:
        UserError: it is no duration, or longer than time is.
    """
    duration = _DURATION.fullmatch(since)
    if duration is None:
        raise UserError(f"--since {since!r} is no duration; write 30m, 2h or 1d")
    try:
        return now - timedelta(**{_UNITS[duration[2]]: int(duration[1])})
    except OverflowError:
        raise UserError(f"--since {since} is too long; write 30m, 2h or 1d") from None
