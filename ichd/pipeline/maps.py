"""Heat maps of what was found: made once the finding is committed, while no job waits, so that no report does."""

from collections import deque
from collections.abc import Generator
from datetime import datetime, timedelta

import structlog

from ichd.domain.errors import NotAnalysable, Transient
from ichd.domain.heatmap import HeatMap, maps_wanted
from ichd.domain.record import finding_of
from ichd.pipeline.clock import Clock
from ichd.pipeline.heat import Explains, Reading
from ichd.store.heatmaps import BeingMade, HeatMaps, MapWork

log = structlog.get_logger(__name__)

#: So many numbers before the highest known one are looked at: when a worker starts, for what the last one left, and
#: later for what has a lower number than others and was committed after them, as PostgreSQL allows.
_LOOK_BACK = 100
_AT_ONCE = 20
#: Maps that somebody else makes, or that the disk did not take, are looked after again.
_AGAIN_AFTER = timedelta(minutes=1)


class Maps:
    """The idle work of one worker: findings in the order of their making, a slice at a time."""

    def __init__(
        self, *, heat_maps: HeatMaps, explainer: Explains, clock: Clock, patience: timedelta = timedelta()
    ) -> None:
        """A finding is left alone for its first moments, `patience`, in which a courier may need its maps sooner."""
        self._heat_maps = heat_maps
        self._explainer = explainer
        self._clock = clock
        self._patience = patience
        self._looked_to: int | None = None
        #: Numbers of the findings that were taken note of, as far back as is looked.
        self._met: frozenset[int] = frozenset()
        self._pending: deque[int] = deque()
        #: Findings to look at again, and when.
        self._postponed: list[tuple[datetime, int]] = []
        #: The maps of a finding in the making.
        self._under_way: tuple[int, Generator[None, None, None]] | None = None

    def step(self) -> bool:
        """Do a piece: decode one scan, see one slice, or make the maps of one; False where nothing is left.

        Raises:
            Transient: the database or the disk fails; the finding's maps are tried again later.
        """
        if self._go_on():
            return True
        self._look()
        while self._pending:
            number = self._pending[0]
            try:
                work = self._heat_maps.begin(number)
            except BeingMade:
                work = None
                self._postpone(number)
            self._pending.popleft()
            if work is not None:
                self._under_way = number, self._make(work)
                # At once: a generator that was never entered could not take its mark off.
                self._go_on()
                return True
        return False

    def close(self) -> None:
        """Give up what is under way, for another worker to take."""
        if self._under_way is not None:
            self._under_way[1].close()
            self._under_way = None

    def _go_on(self) -> bool:
        """Do the next piece of the maps under way; False where there is none."""
        if self._under_way is None:
            return False
        number, pieces = self._under_way
        self._under_way = None
        try:
            for _ in pieces:
                self._under_way = number, pieces
                return True
        except Transient:
            self._postpone(number)
            raise
        return False

    def _postpone(self, number: int) -> None:
        self._postponed.append((self._clock() + _AGAIN_AFTER, number))

    def _look(self) -> None:
        """Take note of new findings, and of those that were postponed for long enough."""
        if self._looked_to is None:
            self._looked_to = self._heat_maps.newest_finding()
        since = self._looked_to - _LOOK_BACK
        found = self._heat_maps.findings(after=since, limit=_LOOK_BACK + _AT_ONCE)
        looked_at = self._clock() + self._patience
        self._postponed.extend((looked_at, number) for number in found if number not in self._met)
        self._looked_to = max(found, default=self._looked_to)
        self._met = frozenset(found)
        now = self._clock()
        self._pending.extend(number for at, number in self._postponed if at <= now)
        self._postponed = [(at, number) for at, number in self._postponed if at > now]

    def _make(self, work: MapWork) -> Generator[None, None, None]:
        """The maps of one reading; yields after each piece."""
        try:
            yield from self._pieces(work)
        finally:
            self._heat_maps.let_go(work)

    def _pieces(self, work: MapWork) -> Generator[None, None, None]:
        finding = finding_of(work.record)
        wanted = maps_wanted(finding)
        # Asked for once: what is begun with a model is finished with it, whatever is in force by then.
        explainer = self._explainer.of(finding) if wanted else None
        if explainer is None:
            self._heat_maps.keep(work, ())
            return
        reading = Reading(
            study_id=work.study_id,
            revision=work.revision,
            finding=finding,
            files=work.files,
            stored=work.stored,
            bring=work.bring,
        )
        try:
            seen = yield from explainer.pieces(reading)
        except NotAnalysable as refusal:
            # It was read a moment ago; now it is not, and the study shows no maps.
            log.warning("heat_maps_not_made", study=work.study_uid, reason=refusal.reason, detail=refusal.detail)
            self._heat_maps.keep(work, ())
            return
        maps: list[HeatMap] = []
        for each in wanted:
            maps += explainer.maps(seen, each)
            yield
        self._heat_maps.keep(work, maps)
        log.info("heat_maps_made", study=work.study_uid, revision=work.revision, maps=len(maps))
