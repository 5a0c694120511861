"""Connections that ask for nothing are dropped.

uvicorn waits for ever for the first request of a connection, and for the rest of one that is half said: a few hundred
such connections shut everybody else out. Private to it are the names `cycle` and `on_response_complete`; a test opens
both kinds of connection and fails when these move.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

#: From the opening, or from the last answer, to the end of the next request's headers.
HEADERS_WITHIN_S = 10.0


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with an end to waiting; how long bodies may take is said by those who read them."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_request()

    def on_response_complete(self) -> None:
        """Wait for the next one."""
        super().on_response_complete()
        self._wait_for_request()

    def _wait_for_request(self) -> None:
        last = self.cycle

        def drop() -> None:
            if self.cycle is last and not self.transport.is_closing():
                self.transport.close()

        self.loop.call_later(HEADERS_WITHIN_S, drop)
