"""Connections tell the doorstep when a request of theirs is in service, and when it has been answered.

uvicorn waits for ever for the first request of a connection, and for the rest of one that is half said. Private to it
are the names `cycle`, its `response_complete` and `scope`, and `on_response_complete`; tests open idle and busy
connections and fail when these move.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from ichd.web.doorstep import Doorstep, Guest

#: Whether a request, by its ASGI scope, came from somebody who may ask.
MayAsk = Callable[[Mapping[str, Any]], bool]


def patient_protocol(doorstep: Doorstep, may_ask: MayAsk) -> type[H11Protocol]:
    """HTTP/1.1 over the connections of `doorstep`; how long bodies may take is said by those who read them."""

    class PatientProtocol(H11Protocol):
        _guest: Guest

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self._guest = doorstep.guest(transport.get_extra_info("socket").fileno())
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                doorstep.serve(self._guest)

        def on_response_complete(self) -> None:
            answered = self.cycle
            super().on_response_complete()
            # A request that was sent ahead is in service by now.
            if self.cycle is answered:
                doorstep.rest(self._guest, may_ask=may_ask(answered.scope))

    return PatientProtocol
