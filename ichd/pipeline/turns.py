"""Turns at what happens by the clock: which of many workers does a tick, and that he keeps it while he does."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.pipeline.clock import Clock
from ichd.store.ticks import Change, Ticks, Trouble
from ichd.telemetry import Survived

log = structlog.get_logger(__name__)

#: A worker that is killed is replaced after so long at most.
LEASE = timedelta(seconds=15)
#: What happens more often than this is held from run to run: ten claims a second would be ten writes to the disk.
HELD_BELOW = timedelta(seconds=5)
#: The same for those that are held: nobody closes studies meanwhile.
HELD_LEASE = timedelta(seconds=6)
#: Share of a lease after which whoever holds a tick says so anew, and the later one after which he is reminded, should
#: a run of his take long.
_RENEWED_AT, _REMINDED_AT = 1 / 2, 2 / 3
#: A database that is away is asked again after this long.
_AWAY_S = 2.0
#: How soon a tick that failed is tried again, where its period is longer.
_AGAIN_AFTER = timedelta(minutes=1)
#: For so long at most a worker takes the word of the database for who has a tick; a clock may be set back meanwhile.
_TRUSTED = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Something that happens by the clock.

    It may be run by two at once, where the database was away for longer than a lease, or clocks differ: each must be
    right then.
    """

    name: str
    every: timedelta
    #: Does it; what it finds wrong is an alert.
    run: Callable[[], Trouble | None]
    #: Each place (`Turn`) has its own, because it is about what is there.
    of_place: bool = False
    #: How long after the start it is first thought of.
    first_after: timedelta = timedelta()
    #: How soon it is tried again where it found something wrong, if its period is longer; None for soon.
    again_after: timedelta | None = None

    @property
    def is_held(self) -> bool:
        """Whether whoever has it keeps it from run to run."""
        return self.every < HELD_BELOW


class Turn:
    """One tick in one worker. A thread at a time begins and ends; `renew` is for another."""

    def __init__(self, tick: Tick, ticks: Ticks, clock: Clock, *, place: str) -> None:
        """`place` is the machine, or machine/worker for a tick about what is in the memory of one of several there."""
        self.tick = tick
        self.place = place
        self.name = f"{tick.name}@{place}" if tick.of_place else tick.name
        self.lease = HELD_LEASE if tick.is_held else LEASE
        self._ticks = ticks
        self._clock = clock
        self._lock = threading.Lock()
        #: By the clock that nobody sets.
        self._asks_at = time.monotonic() + tick.first_after.total_seconds()
        #: As long as the lease is ours for sure.
        self._ours_until: float | None = None
        self._renewed_at = 0.0
        self._began: datetime | None = None
        #: What was said last of a tick that is held.
        self._told: Trouble | None = None
        #: Trouble that lasts is logged once, not ten times a second.
        self._postponed = False
        self._away = False

    def take(self) -> None:
        """Run it, if it is due and our turn."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self.begin():
                self._run()
        finally:
            self._lock.release()

    def begin(self) -> bool:
        """Whether it is due and ours now; whoever is told so calls `end`."""
        if self.tick.is_held and self._is_ours():
            self._began = self._clock()
            return True
        if time.monotonic() < self._asks_at:
            return False
        now, asked = self._clock(), time.monotonic()
        try:
            until = self._ticks.claim(self.name, every=self.tick.every, lease=self.lease, now=now)
        except Transient as error:
            self._lose_database(error)
            return False
        self._away = False
        if until is not None:
            self._asks_at = asked + min(max(until - now, timedelta()), _TRUSTED).total_seconds()
            return False
        self._hold_from(asked)
        self._began = now
        return True

    def end(self, trouble: Trouble | None) -> None:
        """Say how it went; a tick that is held is kept."""
        try:
            if self.tick.is_held:
                self._tell(trouble)
            else:
                self._give_back(trouble)
        except Transient as error:
            # The lease runs out, and somebody runs it again.
            self._lose_database(error)

    def renew(self) -> None:
        """Keep what is ours, however long a run takes."""
        now = time.monotonic()
        if self._ours_until is None or now - self._renewed_at < self.lease.total_seconds() * _REMINDED_AT:
            return
        try:
            kept = self._ticks.keep([self.name], lease=self.lease, now=self._clock())
        except Transient:
            return  # it is ours until the lease runs out, and then whoever is quicker has it
        if kept:
            self._hold_from(now)
        else:
            self._ours_until = None

    def _hold_from(self, moment: float) -> None:
        self._renewed_at, self._ours_until = moment, moment + self.lease.total_seconds()

    def _is_ours(self) -> bool:
        return self._ours_until is not None and time.monotonic() < self._ours_until

    def _run(self) -> None:
        trouble: Trouble | None = None
        with Survived("tick_failed", but_for=(Transient,), tick=self.name) as survived:
            try:
                trouble = self.tick.run()
            except Transient as error:
                if not self._postponed:
                    log.warning("tick_postponed", tick=self.name, reason=error.reason, detail=error.detail)
                self._postponed = True
                trouble = Trouble(reason=error.reason, detail=error.detail)
            else:
                self._postponed = False
        if survived.defect is not None:
            trouble = Trouble(reason=Reason.INTERNAL_ERROR, detail=survived.defect)
        self.end(trouble)

    def _give_back(self, trouble: Trouble | None) -> None:
        began, now = self._began or self._clock(), self._clock()
        again_after = _AGAIN_AFTER if self.tick.again_after is None else self.tick.again_after
        due_at = began + (self.tick.every if trouble is None else min(self.tick.every, again_after))
        self._ours_until = None
        self._say(self._ticks.done(self.name, trouble, due_at=due_at, now=now), trouble)
        self._asks_at = time.monotonic() + max(0.0, min(due_at - now, _TRUSTED).total_seconds())

    def _tell(self, trouble: Trouble | None) -> None:
        """Ten runs a second are told twice a lease, or when something changed."""
        told = time.monotonic()
        if told - self._renewed_at < self.lease.total_seconds() * _RENEWED_AT and trouble == self._told:
            return
        now = self._clock()
        due_at = now + max(self.tick.every, self.lease)
        change = self._ticks.tell(self.name, trouble, lease=self.lease, due_at=due_at, now=now)
        self._told = trouble
        if change is Change.LOST:
            self._ours_until = None
        else:
            self._hold_from(told)
        self._say(change, trouble)

    def _say(self, change: Change, trouble: Trouble | None) -> None:
        if change is Change.TROUBLED and trouble is not None and not self._postponed:
            log.error("tick_troubled", tick=self.name, reason=trouble.reason, detail=trouble.detail)
        elif change is Change.MENDED:
            log.info("tick_mended", tick=self.name)
        elif change is Change.LOST:
            log.warning("tick_taken_over", tick=self.name)

    def _lose_database(self, error: Transient) -> None:
        self._asks_at = time.monotonic() + _AWAY_S
        if not self._away:
            log.warning("tick_not_claimed", tick=self.name, reason=error.reason, detail=error.detail)
        self._away = True
