"""The listening socket of the web door: connections are counted as they are accepted, before any handshake.

A newcomer is worth more than one who asks for nothing: when it is full the connection that has been idle for longest
has to go. A server that counts open connections and then answers 503 shuts everybody out while silent ones fill it, and
does not count those that never shake hands for TLS.
"""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import Any

#: From the opening, or from the last answer to somebody who may ask, to the end of the next request's headers.
HEADERS_WITHIN_S = 10.0
#: For an answer that is still on its way when the time is over.
_LAST_WORDS_S = 1.0


@dataclass(frozen=True, kw_only=True)
class DoorCaps:
    """How many connections there may be at the same time."""

    connections: int
    #: An IPv6 network of 64 bits is one address: it is what one host is given.
    connections_per_address: int


class Guest(socket.socket):
    """A connection, idle unless a request of it is in service."""

    place: str = ""
    #: When it came, or had its last answer as somebody who may ask; seconds of the loop.
    since: float = 0.0
    is_busy: bool = False
    #: Over for us, though the loop may not have closed it yet.
    is_dropped: bool = False
    timer: asyncio.TimerHandle | None = None
    step: "Doorstep | None" = None

    def drop(self) -> None:
        """End it without a word; the loop sees the end and closes it."""
        self.is_dropped = True
        try:
            self.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The peer was faster.
            return

    def close(self) -> None:
        """Close it, and make room."""
        if self.step is not None:
            self.step.leave(self)
        super().close()


class Doorstep(socket.socket):
    """Used by one event loop, which accepts from it and serves what it accepted."""

    def __init__(self, family: int, kind: int, protocol: int, *, caps: DoorCaps) -> None:
        super().__init__(family, kind, protocol)
        self._caps = caps
        self._guests: dict[int, Guest] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection.

        Raises:
            ConnectionAbortedError: all that there may be are in service; the loop goes on with the next one.
            BlockingIOError: there is none.
        """
        plain, address = super().accept()
        guest = Guest(fileno=plain.detach())
        guest.place = _place_of(address[0])
        if not self._make_room(guest.place):
            guest.close()
            raise ConnectionAbortedError
        guest.step = self
        self._guests[guest.fileno()] = guest
        self._renew(guest)
        return guest, address

    def guest(self, descriptor: int) -> Guest:
        """The open connection with this file descriptor."""
        return self._guests[descriptor]

    def serve(self, guest: Guest) -> None:
        """A request of it is in service."""
        guest.is_busy = True

    def rest(self, guest: Guest, *, may_ask: bool) -> None:
        """It has been answered. Only those who may ask get new time for their next request."""
        guest.is_busy = False
        if guest.step is None:
            return
        if may_ask:
            self._renew(guest)
        elif guest.timer is None:
            guest.timer = asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._look, guest)

    def leave(self, guest: Guest) -> None:
        """It is closed."""
        guest.step = None
        self._guests.pop(guest.fileno(), None)
        if guest.timer is not None:
            guest.timer.cancel()
            guest.timer = None

    def _make_room(self, place: str) -> bool:
        crowd = [guest for guest in self._guests.values() if not guest.is_dropped]
        neighbours = [guest for guest in crowd if guest.place == place]
        if len(neighbours) >= self._caps.connections_per_address:
            crowd = neighbours
        elif len(crowd) < self._caps.connections:
            return True
        oldest = min((guest for guest in crowd if not guest.is_busy), key=lambda guest: guest.since, default=None)
        if oldest is None:
            return False
        oldest.drop()
        return True

    def _renew(self, guest: Guest) -> None:
        loop = asyncio.get_running_loop()
        guest.since = loop.time()
        if guest.timer is not None:
            guest.timer.cancel()
        guest.timer = loop.call_later(HEADERS_WITHIN_S, self._look, guest)

    def _look(self, guest: Guest) -> None:
        guest.timer = None
        if not guest.is_busy:
            guest.drop()


def _place_of(address: str) -> str:
    """What counts as one address."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
