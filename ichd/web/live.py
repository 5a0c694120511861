"""Who looks at a worklist sees it change: one look at the database a second, whatever the number of viewers.

Viewers of the same view share its looks, and the bytes that tell of a change: lines that are new or other, and the
order of all. Who was told of the version before gets those; who comes late, or was too slow, gets all lines.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog
from starlette.concurrency import run_in_threadpool

from ichd.domain.errors import Transient
from ichd.store.changes import ChangeWatch
from ichd.store.listing import StudySummary
from ichd.store.worklist import Counts, Worklist, WorklistQuery
from ichd.web.view import NamesOf, View, changed_studies, look

log = structlog.get_logger(__name__)

#: Looks of one view: not before, and not after.
_REST_S = 1.0
#: Rest for so many times as long as a look has taken, but not for ever: on a busy machine, images come first.
_REST_SHARE = 20
_LONGEST_REST_S = 4.0
#: The numbers beside the filters cost as much as the lines, and may be a little older.
_COUNTED_S = 4.0
_RENEW_S = 20.0
_BEAT_S = 15.0
#: Each has a look of its own a second.
_MOST_VIEWS = 32


@dataclass(frozen=True, kw_only=True)
class StreamCaps:
    """How many may look at the same time; each holds a connection."""

    streams: int = 256
    streams_per_address: int = 32


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What a viewer asked to see, and may."""

    query: WorklistQuery
    names_of: NamesOf | None
    may_operate: bool


class Teller(Protocol):
    """Puts views into words for the page; called in threads."""

    def rows(self, sight: Sight, view: View, studies: Sequence[StudySummary]) -> dict[str, str]:
        """The lines of some studies of a view, by Study Instance UID."""

    def rest(self, sight: Sight, view: View) -> dict[str, object]:
        """What a page shows beside its lines, as a value for JSON."""


@dataclass
class _Shared:
    """One view and its viewers."""

    sight: Sight
    readers: int = 0
    view: View | None = None
    #: What tells of `view` to whoever was told of the version before, and to everybody else.
    before: str = ""
    patch: bytes = b""
    whole: bytes = b""
    #: Lines as they were told, by Study Instance UID.
    rows: dict[str, str] = field(default_factory=dict)
    counts: Counts | None = None
    counted_at: float = 0.0
    #: Words of the trouble that keeps us from looking.
    trouble: str = ""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """Wake whoever waits for news."""
        self.told.set()
        self.told = asyncio.Event()


class Full(Exception):
    """No room for another viewer."""


class Live:
    """The views that are looked at. `stop` may come from any thread; all else belongs to the loop that serves."""

    def __init__(self, worklist: Worklist, teller: Teller, clock: Callable[[], datetime], caps: StreamCaps) -> None:
        self._worklist = worklist
        self._teller = teller
        self._clock = clock
        self._caps = caps
        self._shared: dict[Sight, _Shared] = {}
        self._addresses: Counter[str] = Counter()
        self._watch: ChangeWatch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def stop(self) -> None:
        """End all streams, so that nothing keeps the server."""
        self._stopping = True
        if self._watch is not None:
            self._watch.stop()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._rouse)

    def join(self, sight: Sight, address: str) -> Callable[[str], AsyncIterator[bytes]]:
        """Make room for a viewer; what comes back makes the stream, given the version that is known already.

        Raises:
            Full: there is none.
        """
        everybody = sum(self._addresses.values())
        crowded = self._addresses[address] >= self._caps.streams_per_address or everybody >= self._caps.streams
        if self._stopping or crowded or (sight not in self._shared and len(self._shared) >= _MOST_VIEWS):
            raise Full
        return lambda seen: self._stream(sight, address, seen)

    async def _stream(self, sight: Sight, address: str, seen: str) -> AsyncIterator[bytes]:
        shared = self._enter(sight, address)
        try:
            # Also the first bytes: the answer has begun, and a proxy shows it.
            yield b"retry: 2000\n\n"
            trouble = ""
            while not self._stopping:
                told = shared.told
                if shared.trouble != trouble:
                    trouble = shared.trouble
                    yield _event("away" if trouble else "back", {"trouble": trouble})
                if shared.view is not None and shared.view.version != seen:
                    news = shared.patch if shared.before == seen else shared.whole
                    seen = shared.view.version
                    yield news
                try:
                    async with asyncio.timeout(_BEAT_S):
                        await told.wait()
                except TimeoutError:
                    yield b"event: beat\ndata:\n\n"
        finally:
            self._leave(sight, address, shared)

    def _enter(self, sight: Sight, address: str) -> _Shared:
        self._loop = asyncio.get_running_loop()
        self._addresses[address] += 1
        shared = self._shared.get(sight)
        if shared is None:
            shared = self._shared[sight] = _Shared(sight)
            task = asyncio.create_task(self._keep(shared))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        shared.readers += 1
        if self._watch is None:
            self._watch = ChangeWatch(self._worklist.engine, self._hint)
            self._watch.start()
        return shared

    def _leave(self, sight: Sight, address: str, shared: _Shared) -> None:
        self._addresses[address] -= 1
        self._addresses += Counter()
        shared.readers -= 1
        if not shared.readers:
            # Out of sight at once: who comes next begins anew, while the last look of this one ends.
            self._shared.pop(sight, None)
            shared.wake.set()
        if not self._shared and self._watch is not None:
            self._watch.stop()
            self._watch = None

    def _hint(self) -> None:
        """From the thread of the watch."""
        loop = self._loop
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            # The loop has ended meanwhile.
            return

    def _wake(self) -> None:
        for shared in self._shared.values():
            shared.wake.set()

    def _rouse(self) -> None:
        self._wake()
        for shared in self._shared.values():
            shared.tell()

    async def _keep(self, shared: _Shared) -> None:
        """Look again and again, as long as anybody does."""
        while shared.readers and not self._stopping:
            shared.wake.clear()
            begun = time.monotonic()
            await self._renew(shared)
            tired_s = _REST_SHARE * (time.monotonic() - begun)
            await asyncio.sleep(min(max(_REST_S, tired_s), _LONGEST_REST_S))
            try:
                async with asyncio.timeout(_RENEW_S):
                    await shared.wake.wait()
            except TimeoutError:
                continue

    async def _renew(self, shared: _Shared) -> None:
        try:
            news = await run_in_threadpool(self._look, shared)
        except Transient as error:
            if not shared.trouble:
                log.warning("worklist_not_live", error=str(error))
            shared.trouble = str(error)
            shared.tell()
            return
        was_away, shared.trouble = bool(shared.trouble), ""
        if news is not None:
            shared.before = shared.view.version if shared.view else ""
            shared.view, shared.patch, shared.whole, shared.rows = news
        if news is not None or was_away:
            shared.tell()

    def _look(self, shared: _Shared) -> tuple[View, bytes, bytes, dict[str, str]] | None:
        """The view with what tells of it; None where it is as it was."""
        sight, before = shared.sight, shared.view
        if time.monotonic() - shared.counted_at > _COUNTED_S:
            shared.counts = None
        view = look(self._worklist, sight.query, sight.names_of, self._clock(), counts=shared.counts)
        if shared.counts is None:
            shared.counts, shared.counted_at = view.counts, time.monotonic()
        if before is not None and view.version == before.version:
            return None
        changed = self._teller.rows(sight, view, changed_studies(before, view))
        rest = self._teller.rest(sight, view)
        rows = {s.study_uid: changed.get(s.study_uid) or shared.rows[s.study_uid] for s in view.page.studies}
        patch = _event("list", {"order": list(rows), "rows": changed, **rest}, view.version)
        return view, patch, _event("list", {"order": list(rows), "rows": rows, **rest}, view.version), rows


def _event(kind: str, value: Mapping[str, object], version: str = "") -> bytes:
    """JSON has no line breaks, so a value is one line."""
    named = f"id: {version}\n" if version else ""
    return f"event: {kind}\n{named}data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()
