"""How many rows one address may cause: a peer that is turned away all day must not fill tables that others write to."""

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ichd.domain.reason import Reason

_SPAN = timedelta(minutes=1)
#: Addresses with their reasons that are remembered; with IPv6 one peer may have any number of addresses.
_MOST_ACCOUNTS = 10_000


@dataclass(kw_only=True)
class _Account:
    """What one address caused for one reason."""

    began: datetime
    rows: int = 0
    #: AE titles that have their row.
    titles: set[str] = field(default_factory=set)
    #: How many have had no row since the last one.
    left_out: int = 0


class Allowance:
    """Rows by address and reason, so many a minute; what goes beyond is counted. Safe for any number of threads."""

    def __init__(self, rows_a_minute: int = 20) -> None:
        self._rows_a_minute = rows_a_minute
        #: Oldest first.
        self._accounts: dict[tuple[Reason, str], _Account] = {}
        self._lock = threading.Lock()

    def take(self, reason: Reason, address: str, now: datetime, *, title: str | None = None) -> int | None:
        """Whether there may be a row: None where not, else how many like it have had none since the last one.

        With a title, only the first under each title in a minute may have one: a modality with a typing error knocks
        once a second, and one that guesses titles shows each guess.
        """
        with self._lock:
            account = self._account(reason, address, now)
            if account.rows >= self._rows_a_minute or title in account.titles:
                account.left_out += 1
                return None
            account.rows += 1
            if title is not None:
                account.titles.add(title)
            left_out, account.left_out = account.left_out, 0
            return left_out

    def take_anyway(self, reason: Reason, address: str, now: datetime) -> int:
        """A row for one that was denied it just now; returns how many others have had none since the last one."""
        with self._lock:
            account = self._account(reason, address, now)
            others, account.left_out = max(account.left_out - 1, 0), 0
            return others

    def _account(self, reason: Reason, address: str, now: datetime) -> _Account:
        key = (reason, address)
        account = self._accounts.get(key)
        # A clock that was put back must not silence anybody for longer.
        if account is not None and timedelta(0) <= now - account.began < _SPAN:
            return account
        left_out = 0 if account is None else self._accounts.pop(key).left_out
        if len(self._accounts) >= _MOST_ACCOUNTS:
            del self._accounts[next(iter(self._accounts))]
        account = self._accounts[key] = _Account(began=now, left_out=left_out)
        return account


def with_left_out(detail: str, left_out: int) -> str:
    """The detail of a row that stands for others as well."""
    return f"{detail} (and {left_out} more like this)" if left_out else detail
