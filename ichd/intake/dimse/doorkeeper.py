"""Who may stay: connections and associations are counted, in all and by address."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ichd.intake.peers import Rejection


class Guest(Protocol):
    """A connection, as far as it is counted."""

    def drop(self) -> None:
        """End it without a word."""


@dataclass(frozen=True, kw_only=True)
class Caps:
    """How many there may be at the same time."""

    #: Associated or not.
    connections: int
    connections_per_address: int
    associations: int
    associations_per_address: int


class Doorkeeper:
    """Safe for any number of threads.

    A newcomer is worth more than one who stands at the door and says nothing: when it is full the oldest of those has
    to go, so that idle connections, however many, never keep a sender out.
    """

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._lock = threading.Lock()
        #: By address, the oldest first.
        self._waiting: dict[Guest, str] = {}
        self._associated: dict[Guest, str] = {}

    def enter(self, guest: Guest, address: str) -> bool:
        """Whether the newcomer may stay; others may be dropped for it."""
        with self._lock:
            here = self._count_at(address)
            if here >= self._caps.connections_per_address:
                idle = self._oldest(waiting_at=address)
            elif len(self._waiting) + len(self._associated) >= self._caps.connections:
                idle = self._oldest()
            else:
                self._waiting[guest] = address
                return True
            if idle is None:
                return False
            del self._waiting[idle]
            self._waiting[guest] = address
        idle.drop()
        return True

    def associate(self, guest: Guest) -> Rejection | None:
        """Count the guest among the associations, or say why not."""
        with self._lock:
            address = self._waiting.get(guest)
            full = len(self._associated) >= self._caps.associations
            if address is None or full or self._full_at(address):
                return Rejection.LOCAL_LIMIT_EXCEEDED
            self._associated[guest] = self._waiting.pop(guest)
            return None

    def part(self, guest: Guest) -> None:
        """The association is over, though the connection may not be."""
        with self._lock:
            if (address := self._associated.pop(guest, None)) is not None:
                self._waiting[guest] = address

    def leave(self, guest: Guest) -> None:
        """The connection is over."""
        with self._lock:
            self._waiting.pop(guest, None)
            self._associated.pop(guest, None)

    def _oldest(self, *, waiting_at: str | None = None) -> Guest | None:
        return next((guest for guest, address in self._waiting.items() if waiting_at in (None, address)), None)

    def _count_at(self, address: str) -> int:
        return _count(self._waiting.values(), address) + _count(self._associated.values(), address)

    def _full_at(self, address: str) -> bool:
        return _count(self._associated.values(), address) >= self._caps.associations_per_address


def _count(addresses: Iterable[str], address: str) -> int:
    return sum(each == address for each in addresses)
