"""Heat maps of what was found: made once the finding is committed, while no job waits, so that no report does."""

from collections import deque
from collections.abc import Generator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from ichd.domain.errors import NotAnalysable, Transient
from ichd.domain.finding import Prediction, SlicePrediction
from ichd.domain.heatmap import HeatMap, maps_wanted
from ichd.domain.record import finding_of
from ichd.pipeline.clock import Clock
from ichd.store.embeddings import Embeddings, slice_key
from ichd.store.heatmaps import BeingMade, HeatMaps, MapWork
from ichd.vision.attribution import Attribution
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan, SliceSource, SourceImage, load_scan

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
        self, *, heat_maps: HeatMaps, attribution: Attribution, reader: Reader, embeddings: Embeddings, clock: Clock
    ) -> None:
        self._heat_maps = heat_maps
        self._attribution = attribution
        self._reader = reader
        self._embeddings = embeddings
        self._clock = clock
        self._looked_to: int | None = None
        #: Numbers of the findings that were taken note of, as far back as is looked.
        self._met: frozenset[int] = frozenset()
        self._pending: deque[int] = deque()
        #: Findings to look at again, and when.
        self._postponed: deque[tuple[datetime, int]] = deque()
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
        self._pending.extend(number for number in found if number not in self._met)
        self._looked_to = max(found, default=self._looked_to)
        self._met = frozenset(found)
        while self._postponed and self._postponed[0][0] <= self._clock():
            self._pending.append(self._postponed.popleft()[1])

    def _make(self, work: MapWork) -> Generator[None, None, None]:
        """The maps of one reading; yields after each piece."""
        try:
            yield from self._pieces(work)
        finally:
            self._heat_maps.let_go(work)

    def _pieces(self, work: MapWork) -> Generator[None, None, None]:
        finding = finding_of(work.record)
        wanted = maps_wanted(finding)
        if not wanted or finding.prediction.model != self._reader.engine.bundle.identity:
            # Another model than this worker's made the finding: its heat would be somebody else's.
            self._heat_maps.keep(work, ())
            return
        try:
            scan = load_again(finding.prediction, work.files)
        except NotAnalysable as refusal:
            # It was read a moment ago; now it is not, and the study shows no maps.
            log.warning("heat_maps_not_made", study=work.study_uid, reason=refusal.reason, detail=refusal.detail)
            self._heat_maps.keep(work, ())
            return
        yield
        seen: dict[int, NDArray[np.float32]] = {}
        for index in range(len(scan.hu_SHW)):
            known = self._recall(work, scan, index)
            if known is None:
                (known,) = self._reader.embed(scan, [index])
                yield
            seen[index] = known
        embeddings_SF = np.stack([seen[index] for index in sorted(seen)])
        maps: list[HeatMap] = []
        for each in wanted:
            index = index_of(scan, each.slice)
            found = self._attribution.maps(scan, index, each.class_names, embeddings_SF)
            maps += [heat for heat in found if shows(heat, each.slice)]
            yield
        self._heat_maps.keep(work, maps)
        log.info("heat_maps_made", study=work.study_uid, revision=work.revision, maps=len(maps))

    def _recall(self, work: MapWork, scan: HeadScan, index: int) -> NDArray[np.float32] | None:
        """The slice's embedding, where it was kept when the study was read."""
        if not self._reader.sees_slices_alone:
            return None
        members = [(work.stored[source.sop_instance_uid], source.frame_number) for source in scan.sources[index]]
        kept = self._embeddings.get(slice_key(members), scan.hu_SHW[index])
        return None if kept is None else kept.values_F


def load_again(prediction: Prediction, files: Mapping[str, Path]) -> HeadScan:
    """The scan that a prediction was made of; `files` by SOP Instance UID.

    Exactly its slices: what else the series holds was left out for a reason.

    Raises:
        NotAnalysable: a file is gone, or no longer what it was.
    """
    return load_scan(
        [SliceSource(path=files[s.sop_instance_uid], frame_number=s.frame_number) for s in prediction.slices]
    )


def index_of(scan: HeadScan, wanted: SlicePrediction) -> int:
    """Where in the scan a slice of its prediction stands.

    Raises:
        ValueError: it is of another scan.
    """
    for index, sources in enumerate(scan.sources):
        if any(shows(source, wanted) for source in sources):
            return index
    raise ValueError("the slice is not of this scan")


def shows(image: SourceImage | HeatMap, wanted: SlicePrediction) -> bool:
    """Whether an image or a map is that of a slice; an averaged slice has several, of which a finding names one."""
    return (image.sop_instance_uid, image.frame_number) == (wanted.sop_instance_uid, wanted.frame_number)
