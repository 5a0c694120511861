"""The live model reads a stored phantom from time to time: what it says must not drift.

Hardware wears out, drivers and libraries are renewed under a running program, memory flips a bit of a weight; none of
them says so. The first answer of a bundle in an engine is the baseline of all later ones, once torch in fp32 agrees.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import structlog
from numpy.typing import NDArray

from ichd.domain.errors import Permanent, Transient
from ichd.domain.finding import Prediction
from ichd.domain.reason import Reason
from ichd.pipeline.clock import Clock
from ichd.pipeline.stored_phantom import StoredPhantom
from ichd.pipeline.turns import Turn
from ichd.store.baselines import Baselines
from ichd.store.ticks import Trouble
from ichd.telemetry import Survived
from ichd.vision.bundle import Bundle
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan

log = structlog.get_logger(__name__)

#: By which a first answer may differ from torch's in fp32. Fewer bits alone move single slices by hundredths; what is
#: wrong from the start is wrong by far.
FIRST_TOLERANCE = 0.1
#: A worker that was not idle for so long has no time for it: it is then done beside the readings, a slice a second.
_BUSY_S = 600.0


@dataclass(kw_only=True)
class _Run:
    """One test on its way."""

    reader: Reader
    scan: HeadScan
    #: Over bundle, engine and phantom.
    key: str
    began: float
    known: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    #: What the live model says of each slice and class, once it has.
    live_SC: NDArray[np.float64] | None = None
    #: None where a baseline is there, so that nobody need be asked beside it.
    reference: Reader | None = None
    referenced: dict[int, NDArray[np.float32]] = field(default_factory=dict)


class SelfTest:
    """The idle work of one worker, a piece a slice; its turn says when."""

    def __init__(
        self,
        turn: Turn,
        phantom: StoredPhantom,
        baselines: Baselines,
        *,
        reader: Callable[[], Reader],
        reference: Callable[[Bundle], Reader],
        tolerance: float,
        note_drift: Callable[[float], None],
        clock: Clock,
    ) -> None:
        """`reader` is the live one; `reference` makes one of torch in fp32. `note_drift` keeps the figure."""
        self.turn = turn
        self._phantom = phantom
        self._baselines = baselines
        self._reader = reader
        self._reference = reference
        self._tolerance = tolerance
        self._note_drift = note_drift
        self._clock = clock
        self._lock = threading.Lock()
        self._holds_turn = False
        self._run: _Run | None = None
        self._idle_at = time.monotonic()

    def step(self) -> bool:
        """Do the next piece; False where none is to be done now."""
        self._idle_at = time.monotonic()
        return self._step()

    def catch_up(self) -> None:
        """The same for a worker that is never idle: to be called from time to time by another thread.

        The reader lets its threads take turns, so a reading waits for one slice at most.
        """
        if time.monotonic() - self._idle_at >= _BUSY_S:
            self._step()

    def _step(self) -> bool:
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._proceed()
        finally:
            self._lock.release()

    def _proceed(self) -> bool:
        if not self._holds_turn:
            self._holds_turn = self.turn.begin()
            if not self._holds_turn:
                return False
        trouble: Trouble | None = None
        went_on, ended = False, True
        # A defect met here is of the machine as likely as ours; it must not end the worker, whose jobs will tell.
        with Survived("self_test_failed", but_for=(Transient, Permanent)) as survived:
            try:
                if self._run is None and not self._phantom.is_ready():
                    return False
                went_on, ended = True, self._piece()
                trouble = self._verdict() if ended else None
            except (Transient, Permanent) as error:
                log.warning("self_test_postponed", reason=error.reason, detail=error.detail)
                trouble, ended = Trouble(reason=error.reason, detail=error.detail), True
        if survived.defect is not None:
            trouble, ended = Trouble(reason=Reason.INTERNAL_ERROR, detail=survived.defect), True
        if ended:
            self._run, self._holds_turn = None, False
            self.turn.end(trouble)
        return went_on

    def _piece(self) -> bool:
        """One piece; whether it was the last one."""
        if self._run is None:
            reader = self._reader()
            self._run = _Run(reader=reader, scan=self._phantom.scan(), key=self._key(reader), began=perf_counter())
            return False
        run = self._run
        if run.live_SC is None:
            if not _embed_some(run.reader, run.scan, run.known):
                run.live_SC = _probabilities(run.reader.read(run.scan, known=run.known))
            return False
        if run.reference is None:
            if self._baselines.find(run.key) is not None:
                return True
            run.reference = self._reference(run.reader.engine.bundle)
            return False
        return not _embed_some(run.reference, run.scan, run.referenced)

    def _verdict(self) -> Trouble | None:
        run = self._run
        if run is None or run.live_SC is None:
            return None
        engine = run.reader.engine.name
        baseline = self._baselines.find(run.key)
        if baseline is None and run.reference is not None:
            expected_SC = _probabilities(run.reference.read(run.scan, known=run.referenced))
            gap = _gap(run.live_SC, expected_SC)
            if gap > max(FIRST_TOLERANCE, self._tolerance):
                return self._drifted(gap, f"{engine} differs by {gap:.3f} from torch in fp32 at its first answer")
            self._baselines.keep(run.key, run.live_SC.tolist(), engine=engine, now=self._clock())
            baseline = run.live_SC.tolist()
        drift = _gap(run.live_SC, np.asarray(baseline, dtype=np.float64))
        log.info("self_test_done", drift=round(drift, 5), engine=engine, took_s=round(perf_counter() - run.began, 1))
        if drift > self._tolerance:
            return self._drifted(drift, f"{engine} differs by {drift:.3f} from its first answer")
        self._note_drift(drift)
        return None

    def _drifted(self, drift: float, detail: str) -> Trouble:
        self._note_drift(drift)
        return Trouble(reason=Reason.SELF_TEST_DRIFTED, detail=detail)

    def _key(self, reader: Reader) -> str:
        parts = (reader.engine.bundle.identity.bundle_sha256, reader.engine.fingerprint, self._phantom.checksum)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _embed_some(reader: Reader, scan: HeadScan, known: dict[int, NDArray[np.float32]]) -> bool:
    """Embed as many slices as take the time of one; False where all are."""
    missing = [index for index in range(len(scan.hu_SHW)) if index not in known][: reader.at_once]
    if missing:
        known |= dict(zip(missing, reader.embed(scan, missing), strict=True))
    return bool(missing)


def _probabilities(prediction: Prediction) -> NDArray[np.float64]:
    return np.asarray([each.probabilities for each in prediction.slices], dtype=np.float64)


def _gap(live_SC: NDArray[np.float64], expected_SC: NDArray[np.float64]) -> float:
    """Largest difference; what is no number, or of another shape, differs as much as can be."""
    if live_SC.shape != expected_SC.shape or not np.isfinite(live_SC).all():
        return 1.0
    return float(np.abs(live_SC - expected_SC).max())
