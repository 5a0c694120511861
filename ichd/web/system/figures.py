"""All that the page and the API say, read at once and kept for a few seconds for all who look."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from ichd.store.census import Census, take_census
from ichd.store.outlets import Outlet, outlets
from ichd.store.statistics import Statistics
from ichd.store.ticks import TickState, tick_states
from ichd.store.trends import ModelAtWork, Trends
from ichd.web.metrics import Watched
from ichd.web.system.constancy import Constancy, constancy
from ichd.web.system.span import Span
from ichd.web.system.traffic import Traffic, traffic

_KEPT_S = 5.0
#: Days change with each hour that is counted.
_DAYS_KEPT_S = 60.0
_DISK_CURRENT = timedelta(hours=2)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """How the daemon does."""

    now: datetime
    traffic: Traffic
    constancy: Constancy
    census: Census
    outlets: Sequence[Outlet]
    models: Sequence[ModelAtWork]
    ticks: Sequence[TickState]
    #: Used share, by machine; of those that said so lately.
    disks: Mapping[str, float]
    #: Since when the model in force is so; None where it was never promoted.
    model_since: datetime | None


class Gatherer:
    """Safe for any number of threads: one asks, the others wait for its answer."""

    def __init__(self, engine: Engine, watched: Watched) -> None:
        self._engine = engine
        self._watched = watched
        self._trends = Trends(engine)
        self._statistics = Statistics(engine)
        self._lock = threading.Lock()
        self._kept: dict[Span, tuple[float, Figures]] = {}
        self._days: tuple[float, Constancy] | None = None

    def figures(self, span: Span) -> Figures:
        """As of now, or of a few seconds ago.

        Raises:
            Transient: the database does not answer.
        """
        with self._lock:
            at, kept = self._kept.get(span, (float("-inf"), None))
            if kept is None or time.monotonic() - at >= _KEPT_S:
                kept = self._gathered(span)
                self._kept[span] = (time.monotonic(), kept)
            return kept

    def _gathered(self, span: Span) -> Figures:
        now = self._watched.clock()
        return Figures(
            now=now,
            traffic=traffic(self._trends, span, now),
            constancy=self._constancy(now),
            census=take_census(self._engine),
            outlets=outlets(self._engine, self._watched.destinations),
            models=self._trends.models(),
            ticks=tick_states(self._engine),
            disks=self._statistics.latest("disk_used", since=now - _DISK_CURRENT),
            model_since=self._watched.model_since(),
        )

    def _constancy(self, now: datetime) -> Constancy:
        if self._days is None or time.monotonic() - self._days[0] >= _DAYS_KEPT_S:
            self._days = (time.monotonic(), constancy(self._trends, now))
        return self._days[1]
