"""What the listener's process goes out for: it answers who asked for storage commitment, and asks how many images.

Both call others, by libraries that the door does without: pydicom brings numpy and all decoders, and with pynetdicom
and httpx takes as long to load as all that a scanner waits for. So they are loaded once the door is open.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from ichd.app.clock import Clock
from ichd.app.sources import counting_sources, sources_by_ae_title
from ichd.app.storage import Storage
from ichd.settings import Settings
from ichd.store.announcements import Announcements
from ichd.store.arrivals import Arrivals
from ichd.store.commitments import Commitments

if TYPE_CHECKING:
    from ichd.intake.ask.expected import ExpectedCounts
    from ichd.intake.commitment_report import CommitmentReporter


class Errands:
    """From `start` to `stop`; each kind has a thread of its own."""

    def __init__(self, settings: Settings, storage: Storage, clock: Clock) -> None:
        """Read the settings of the sources.

        Raises:
            UserError: a file that holds a secret of one can't be read.
        """
        self._storage = storage
        self._clock = clock
        self._by_ae_title = sources_by_ae_title(settings)
        self._counting = counting_sources(settings)
        self._reporter: CommitmentReporter | None = None
        self._expected: ExpectedCounts | None = None

    @property
    def answerable(self) -> Collection[str]:
        """AE titles that an answer can be brought to."""
        return self._by_ae_title.keys()

    def start(self) -> None:
        """Load what is needed, and set out."""
        from ichd.intake.ask.expected import ExpectedCounts
        from ichd.intake.commitment_report import CommitmentReporter

        engine = self._storage.engine
        self._reporter = CommitmentReporter(
            Commitments(engine), Arrivals(engine), self._storage.spool, self._by_ae_title, self._clock
        )
        self._expected = ExpectedCounts(Announcements(engine), self._counting, self._clock)
        self._reporter.start()
        self._expected.start()

    def wake(self) -> None:
        """A request for commitment was filed; one that comes before the start is seen at the start."""
        if self._reporter is not None:
            self._reporter.wake()

    def stop(self) -> None:
        """End what is under way, and go out no more."""
        if self._reporter is not None:
            self._reporter.stop()
        if self._expected is not None:
            self._expected.stop()
