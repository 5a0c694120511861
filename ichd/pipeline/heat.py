"""Heat maps of one reading: piece by piece for who has time, one at once for who draws a report."""

import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ichd.domain.finding import Finding, ModelIdentity, Prediction, SlicePrediction
from ichd.domain.heatmap import HeatMap, MapWanted
from ichd.domain.image_file import AnyImage, Bring, all_here
from ichd.store.embeddings import Embeddings, slice_key
from ichd.store.spool import StoredFile
from ichd.vision.attribution import Attribution
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan, SliceSource, SourceImage, load_scan


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A scan, and what the network makes of each of its slices."""

    scan: HeadScan
    #: [S, F]
    embeddings_SF: NDArray[np.float32]
    #: Whose embeddings they are: two models' are worlds apart, and look alike.
    model: ModelIdentity


class LastSeen:
    """The scan that this process read last, so that its pictures need no decoding. Safe for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[int, int] | None = None
        self._seen: Seen | None = None

    def put(self, study_id: int, revision: int, seen: Seen) -> None:
        """Remember a scan, and forget the one before."""
        with self._lock:
            self._key, self._seen = (study_id, revision), seen

    def get(self, study_id: int, revision: int) -> Seen | None:
        """The scan of a revision, where it is the last one."""
        with self._lock:
            return self._seen if self._key == (study_id, revision) else None

    def forget(self) -> None:
        """Make room for the next."""
        with self._lock:
            self._key = self._seen = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a revision was read from."""

    study_id: int
    revision: int
    finding: Finding
    #: By SOP Instance UID; the same as the spool knows them.
    files: Mapping[str, AnyImage]
    stored: Mapping[str, StoredFile]
    #: To be called before files are opened: they may lie in a bucket.
    bring: Bring = all_here


class Explains(Protocol):
    """Whoever may know how to explain a finding."""

    def of(self, finding: Finding) -> "Explainer | None":
        """The explainer of the model that made the finding; None where that model is not at hand."""


class Explainer:
    """Makes heat maps with the model that made the finding. Safe for any number of threads."""

    def __init__(
        self, *, attribution: Attribution, reader: Reader, embeddings: Embeddings, last_seen: LastSeen
    ) -> None:
        self._attribution = attribution
        self._reader = reader
        self._embeddings = embeddings
        self._last_seen = last_seen
        #: The network is looked into by hooks, one look at a time.
        self._looking = threading.Lock()

    def of(self, finding: Finding) -> "Explainer | None":
        """Itself, where the finding is of this model: another one's heat would be somebody else's."""
        return self if finding.prediction.model == self.model else None

    @property
    def model(self) -> ModelIdentity:
        """Whose findings it explains."""
        return self._reader.engine.bundle.identity

    def see(self, reading: Reading) -> Seen:
        """The scan as it was read.

        Raises:
            NotAnalysable: a file is gone, or no longer what it was.
        """
        pieces = self.pieces(reading)
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                seen: Seen = end.value
                return seen

    def pieces(self, reading: Reading) -> Generator[None, None, Seen]:
        """The same, with a pause after each piece of the work: the decoding, and each slice that is not known.

        Raises:
            NotAnalysable: as `see`.
        """
        last = self._last_seen.get(reading.study_id, reading.revision)
        if last is not None and last.model == self.model:
            return last
        reading.bring([s.sop_instance_uid for s in reading.finding.prediction.slices])
        scan = load_again(reading.finding.prediction, reading.files)
        yield
        rows_F = []
        for index in range(len(scan.hu_SHW)):
            known_F = self._recall(reading, scan, index)
            if known_F is None:
                (known_F,) = self._reader.embed(scan, [index])
                yield
            rows_F.append(known_F)
        return Seen(scan=scan, embeddings_SF=np.stack(rows_F), model=self.model)

    def maps(self, seen: Seen, wanted: MapWanted) -> tuple[HeatMap, ...]:
        """The maps of one slice, one a class; of an averaged slice, in the image that the finding names."""
        index = index_of(seen.scan, wanted.slice)
        with self._looking:
            found = self._attribution.maps(seen.scan, index, wanted.class_names, seen.embeddings_SF)
        return tuple(heat for heat in found if shows(heat, wanted.slice))

    def _recall(self, reading: Reading, scan: HeadScan, index: int) -> NDArray[np.float32] | None:
        """The slice's embedding, where it was kept when the study was read."""
        if not self._reader.sees_slices_alone:
            return None
        members = [(reading.stored[source.sop_instance_uid], source.frame_number) for source in scan.sources[index]]
        kept = self._embeddings.get(slice_key(members), scan.hu_SHW[index])
        return None if kept is None else kept.values_F


def load_again(prediction: Prediction, files: Mapping[str, AnyImage]) -> HeadScan:
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
