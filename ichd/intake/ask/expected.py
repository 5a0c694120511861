"""Asks the sources how many CT images a study has that has just come in: evidence of its completeness.

One thread beside the door, which never waits for it. A study is asked about whenever the last association that brought
it has ended, and again after the next. A source that does not answer is left alone for a while and asked then: its
silence must not keep others from being asked.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from ichd.domain.arrival import AnnouncementKind
from ichd.domain.errors import Permanent, SettingsError, Transient
from ichd.intake.ask.count import count_ct_images
from ichd.intake.ask.sources import DimseSource, Source
from ichd.store.announcements import Announcements, Brought
from ichd.telemetry import Survived

_log = structlog.get_logger(__name__)

#: Longest wait for any answer, whatever the source is given elsewhere: by then the study is closed.
_PATIENCE_S = 5.0
#: For the question that is under way when it is told to stop.
_LAST_WORDS_S = 1.0


class ExpectedCounts:
    """From `start` to `stop` it has a thread of its own."""

    def __init__(
        self,
        announcements: Announcements,
        sources: Sequence[Source],
        clock: Callable[[], datetime],
        *,
        look_every_s: float = 0.25,
        pause_s: float = 60.0,
    ) -> None:
        self._announcements = announcements
        self._sources = sources
        self._clock = clock
        self._look_every_s = look_every_s
        #: After a source did not answer.
        self._pause = timedelta(seconds=pause_s)
        self._paused_until: dict[str, datetime] = {}
        #: By study and source, the end after which it has answered.
        self._answered: dict[tuple[str, str], datetime] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Without a source to ask there is nothing to do, and no thread."""
        if self._sources:
            self._thread = threading.Thread(target=self._run, name="ichd-expected-counts", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask nothing more; the answer to a question that is under way is not waited for."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_LAST_WORDS_S)

    def look(self) -> None:
        """Ask about each study that came in since it was last answered about.

        Raises:
            Transient: the database does not answer.
        """
        brought = self._announcements.brought()
        studies = {study.study_uid for study in brought}
        self._answered = {about: end for about, end in self._answered.items() if about[0] in studies}
        for study in brought:
            for source in self._asked_about(study):
                if self._stopping.is_set():
                    return
                self._ask(source, study)

    def _run(self) -> None:
        postponed = False
        while not self._stopping.wait(self._look_every_s):
            # A defect met with one answer must not end all questions.
            with Survived("expected_counts_failed"):
                try:
                    self.look()
                    postponed = False
                except Transient as error:
                    # Once, not four times a second for as long as the database is away.
                    if not postponed:
                        _log.warning("expected_counts_postponed", reason=str(error.reason), detail=error.detail)
                    postponed = True

    def _asked_about(self, study: Brought) -> Sequence[Source]:
        """The archive that sent the study, or all where it is none of them."""
        senders = [source for source in self._sources if study.calling_ae_title in _names(source)]
        return senders or self._sources

    def _ask(self, source: Source, study: Brought) -> None:
        about = (study.study_uid, source.name)
        now = self._clock()
        if self._answered.get(about) == study.ended_at or self._paused_until.get(source.name, now) > now:
            return
        # Until it has answered: whatever goes wrong is not tried again at every look.
        self._paused_until[source.name] = now + self._pause
        try:
            images = count_ct_images(replace(source, timeout_s=min(source.timeout_s, _PATIENCE_S)), study.study_uid)
        except (Transient, Permanent) as error:
            _log.warning("source_not_counting", source=source.name, reason=str(error.reason), detail=error.detail)
            return
        except SettingsError as error:
            _log.error("source_not_counting", source=source.name, detail=str(error))
            return
        del self._paused_until[source.name]
        if images is not None:
            self._announcements.note(
                AnnouncementKind.COUNT,
                study_uid=study.study_uid,
                source=source.name,
                complete=False,
                instances=images,
                now=self._clock(),
            )
        # Not before it is written down: what failed is asked again.
        self._answered[about] = study.ended_at


def _names(source: Source) -> tuple[str, ...]:
    """By which an association with it is known: it called us, or we pulled."""
    return (source.name, source.ae_title.strip()) if isinstance(source, DimseSource) else (source.name,)
