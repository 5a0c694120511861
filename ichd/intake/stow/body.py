"""The body of a request on its way from the network into a pipe."""

import asyncio
import time
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request

from ichd.intake.stow.pipe import BrokenOff, Pipe

#: What a sender must bring within its patience to be given it anew.
_PROGRESS_BYTES = 1 << 16
#: What is read of a request that was answered already, and for how long, seconds: a connection that is closed on a
#: sender in the middle of its words often loses the answer.
_DRAINED_BYTES = 1 << 20
_DRAINED_S = 2.0


class CutShort(Exception):
    """A request ended before its last byte, by the sender or by us."""

    def __init__(self, status: HTTPStatus) -> None:
        self.status = status
        super().__init__(status.phrase)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast a sender has to be; only waiting for it counts, so a slow disk of ours is nobody's fault."""

    #: So long it may take to bring the next 64 KiB, seconds.
    patience_s: float
    #: So long it may make us wait in all, seconds ...
    grace_s: float
    #: ... and one second more for so many bytes.
    min_bytes_per_s: int

    def left_s(self, size: int, waited_s: float) -> float:
        """Seconds that a sender has left in all, after it brought `size` bytes."""
        return self.grace_s + size / self.min_bytes_per_s - waited_s


async def carry(request: Request, pipe: Pipe, *, max_bytes: int, pace: Pace) -> None:
    """Put a request's body into a pipe, to its end or until nobody reads it any more.

    Only 64 KiB renew the patience: who drips one byte now and then would hold a place for ever. Who brings just those
    in time would hold it for days, so there is a pace for the whole as well.

    Raises:
        CutShort: the sender went away (400), was silent or too slow (408) or brings more than `max_bytes` (413).
    """
    size = progress = 0
    left_s = pace.patience_s
    waited_s = 0.0
    while True:
        began = time.monotonic()
        chunk, more = await _receive(request, min(left_s, pace.left_s(size, waited_s)))
        took_s = time.monotonic() - began
        waited_s += took_s
        left_s -= took_s
        size += len(chunk)
        progress += len(chunk)
        if size > max_bytes:
            if more:
                await drain(request)
            raise CutShort(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if progress >= _PROGRESS_BYTES:
            progress, left_s = 0, pace.patience_s
        try:
            await pipe.put(chunk)
        except BrokenOff:
            if more:
                await drain(request)
            return
        if not more:
            pipe.finish()
            return


async def drain(request: Request) -> None:
    """Read the rest of a request that was answered, as far as it is short and comes at once."""
    if "expect" in request.headers:
        # The sender waits for our answer before it sends anything; to read would tell it to go on.
        return
    size, more = 0, True
    deadline = time.monotonic() + _DRAINED_S
    while more and size < _DRAINED_BYTES:
        try:
            chunk, more = await _receive(request, deadline - time.monotonic())
        except CutShort:
            return
        size += len(chunk)


async def _receive(request: Request, patience_s: float) -> tuple[bytes, bool]:
    """The next chunk, and whether more follow."""
    try:
        async with asyncio.timeout(patience_s):
            message = await request.receive()
    except TimeoutError:
        raise CutShort(HTTPStatus.REQUEST_TIMEOUT) from None
    if message["type"] == "http.disconnect":
        raise CutShort(HTTPStatus.BAD_REQUEST)
    return message.get("body", b""), message.get("more_body", False)
