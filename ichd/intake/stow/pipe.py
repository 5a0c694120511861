"""From the event loop, where a request's bytes come in, to the thread that stores them: a bounded queue.

A thread that stores slower than the network brings makes the sender wait; one that went away lets it go on for nothing.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

#: What a chunk costs beside its bytes, so that a flood of chunks of one byte fills a pipe as well.
_OVERHEAD_BYTES = 128


class BrokenOff(Exception):
    """The other side of a pipe went away."""


class Pipe:
    """One writer on an event loop, one reader in a thread."""

    def __init__(self, capacity_bytes: int = 1 << 20) -> None:
        """Belongs to the event loop that runs now."""
        self._loop = asyncio.get_running_loop()
        #: The writer waits while so much is underway.
        self._capacity_bytes = capacity_bytes
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        #: Set on the loop as soon as there is room, or nobody reads any more.
        self._room = asyncio.Event()
        self._room.set()
        self._finished = False
        self._broken = False
        self._abandoned = False

    async def put(self, chunk: bytes) -> None:
        """Hand a chunk over, and wait for room for the next one.

        Raises:
            BrokenOff: nobody reads any more.
        """
        with self._changed:
            if not self._abandoned:
                self._chunks.append(chunk)
                self._waiting_bytes += len(chunk) + _OVERHEAD_BYTES
                if self._waiting_bytes >= self._capacity_bytes:
                    self._room.clear()
                self._changed.notify()
        await self._room.wait()
        if self._abandoned:
            raise BrokenOff

    def finish(self) -> None:
        """All chunks were handed over."""
        with self._changed:
            self._finished = True
            self._changed.notify()

    def break_off(self) -> None:
        """The sender went away; to say so after `finish` means nothing."""
        with self._changed:
            self._broken = not self._finished
            self._changed.notify()

    def abandon(self) -> None:
        """Nobody reads any more; the reader says so, at whatever point."""
        with self._changed:
            self._abandoned = True
            self._chunks.clear()
        self._let_go_on()

    def __iter__(self) -> Iterator[bytes]:
        """The chunks, in the thread of the reader.

        Raises:
            BrokenOff: the sender went away before the last one.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._chunks or self._finished or self._broken)
                if not self._chunks:
                    if self._broken:
                        raise BrokenOff
                    return
                chunk = self._chunks.popleft()
                was_full = self._waiting_bytes >= self._capacity_bytes
                self._waiting_bytes -= len(chunk) + _OVERHEAD_BYTES
                has_room = self._waiting_bytes < self._capacity_bytes
            if was_full and has_room:
                self._let_go_on()
            yield chunk

    def _let_go_on(self) -> None:
        # A loop that was closed has no writer any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._room.set)
