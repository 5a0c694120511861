"""Heat maps are made by the model that made the finding, also after another one is in force."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from ichd.domain.finding import Finding, ModelIdentity
from ichd.pipeline.clock import Clock
from ichd.pipeline.heat import Explainer

#: A model that is no longer in force holds memory; pictures of its findings are asked for soon after them, or rarely.
_KEPT_FOR = timedelta(minutes=15)


class Explainers:
    """The explainer of the model in force, and at most one of another. Safe for any number of threads."""

    def __init__(self, present: Explainer | None, *, recall: Callable[[ModelIdentity], Explainer | None], clock: Clock):
        """`present` is None where the model in force can't be looked into.

        `recall` loads that of a model which is not in force, or gives None where its bundle is not at hand.
        """
        self._present = present
        self._recall = recall
        self._clock = clock
        self._lock = threading.Lock()
        self._other: Explainer | None = None
        self._other_used_at = clock()
        #: Digests of bundles that were looked for in vain.
        self._unknown: set[str] = set()

    def succeed(self, present: Explainer | None) -> None:
        """Another model is in force from now on; the one before stays for a while."""
        with self._lock:
            if self._present is not None:
                self._other, self._other_used_at = self._present, self._clock()
            self._present = present
            self._unknown.clear()

    def of(self, finding: Finding) -> Explainer | None:
        """The explainer of the model that made the finding; None where there is none."""
        with self._lock:
            for each in (self._present, self._other):
                if each is not None and each.of(finding) is not None:
                    self._note_use(each)
                    return each
            model = finding.prediction.model
            if model.bundle_sha256 in self._unknown:
                return None
            recalled = self._recall(model)
            if recalled is None:
                self._unknown.add(model.bundle_sha256)
                return None
            self._other = recalled
            self._note_use(recalled)
            return recalled

    def sweep(self, now: datetime) -> int:
        """Let go of a model that is not in force, and that nobody has needed for a while; returns how many."""
        with self._lock:
            if self._other is None or now - self._other_used_at < _KEPT_FOR:
                return 0
            self._other = None
            return 1

    def _note_use(self, used: Explainer) -> None:
        if used is self._other:
            self._other_used_at = self._clock()
