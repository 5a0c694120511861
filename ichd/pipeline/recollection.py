"""Reading a scan of which some slices have been seen before, and remembering the others."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from time import perf_counter

import numpy as np
import structlog
from numpy.typing import NDArray

from ichd.domain.errors import Transient
from ichd.domain.finding import Prediction
from ichd.pipeline.clock import Clock
from ichd.pipeline.heat import Seen
from ichd.store.draft import StoredFile
from ichd.store.embeddings import Embedding, Embeddings, SliceKey, slice_key
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan

log = structlog.get_logger(__name__)


class Recollection:
    """What is known of one study's slices. `see` is made for one scan."""

    def __init__(
        self, *, reader: Reader, embeddings: Embeddings, stored: Mapping[str, StoredFile], clock: Clock
    ) -> None:
        """`stored` by SOP Instance UID."""
        self._reader = reader
        self._embeddings = embeddings
        self._stored = stored
        self._clock = clock
        self._recalled: Mapping[int, Embedding] = {}
        self._slices = 0
        #: What `see` has seen.
        self.seen: Seen | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many slices of the scan were seen while the study arrived, by an earlier reading, and by this one."""
        ahead = len(self._ahead)
        return {
            "ahead": ahead,
            "earlier": len(self._recalled) - ahead,
            "at_closing": self._slices - len(self._recalled),
        }

    def timings_ms(self, ready_at: datetime) -> dict[str, float]:
        """When the first and the last of the recalled were made, counted from a moment: negative before it."""
        moments = self._ahead
        if not moments:
            return {}
        names = {"ahead_first": moments[0], "ahead_last": moments[-1]}
        return {name: round((at - ready_at).total_seconds() * 1e3, 3) for name, at in names.items()}

    def see(self, scan: HeadScan) -> Prediction:
        """As `Reader.read`, which would give the same probabilities to the bit.

        A scan whose slices can't be seen alone is seen as if nothing was known.
        """
        self._slices = len(scan.hu_SHW)
        started = perf_counter()
        keys = self._keys(scan) if self._reader.sees_slices_alone else []
        self._recalled = {
            index: found
            for index, key in enumerate(keys)
            if (found := self._embeddings.get(key, scan.hu_SHW[index])) is not None
        }
        recalled = perf_counter()
        missing = [index for index in range(self._slices) if index not in self._recalled]
        known = {index: embedding.values_F for index, embedding in self._recalled.items()}
        if missing:
            known |= dict(zip(missing, self._reader.embed(scan, missing), strict=True))
        embedded = perf_counter()
        prediction = self._reader.read(scan, known=known)
        embeddings_SF = np.stack([known[index] for index in range(self._slices)])
        self.seen = Seen(scan=scan, embeddings_SF=embeddings_SF, model=prediction.model)
        if keys:
            self._remember(scan, keys, {index: known[index] for index in missing})
        spent = {"recall": (recalled - started) * 1e3, "embed": (embedded - recalled) * 1e3}
        rounded = {name: round(ms, 3) for name, ms in spent.items()}
        return replace(prediction, timings_ms={**prediction.timings_ms, **rounded})

    @property
    def _ahead(self) -> list[datetime]:
        """The moments, in their order, at which slices were seen while the study arrived."""
        return sorted(embedding.made_at for embedding in self._recalled.values() if embedding.ahead)

    def _keys(self, scan: HeadScan) -> list[SliceKey]:
        return [
            slice_key([(self._stored[source.sop_instance_uid], source.frame_number) for source in sources])
            for sources in scan.sources
        ]

    def _remember(self, scan: HeadScan, keys: list[SliceKey], made: Mapping[int, NDArray[np.float32]]) -> None:
        """A late slice brings the study back, and then only that slice is new."""
        now = self._clock()
        try:
            for index, values_F in made.items():
                embedding = Embedding(values_F=values_F, made_at=now, ahead=False)
                self._embeddings.put(keys[index], scan.hu_SHW[index], embedding)
        except Transient as error:
            # The finding is there; only another reading would be slower.
            log.warning("embeddings_not_kept", reason=error.reason, detail=error.detail)
