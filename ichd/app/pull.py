"""`ichd pull`: one source, our counter and our database, put together."""

import fcntl
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ichd.app.checks import require_database
from ichd.app.clock import Clock, ago, clock_of
from ichd.app.disk import watermarks
from ichd.app.sources import source_named
from ichd.app.storage import open_storage
from ichd.domain.errors import UserError
from ichd.intake.ask.archive import archive_of
from ichd.intake.ask.errand import Retriever
from ichd.intake.ask.find import StudyQuery
from ichd.intake.ask.get import GetRetriever
from ichd.intake.ask.move import MoveRetriever
from ichd.intake.ask.pull import Pull
from ichd.intake.ask.sources import Source, WebSource
from ichd.intake.ask.wado import WebRetriever
from ichd.intake.counter import Counter
from ichd.intake.values import is_uid
from ichd.settings import Settings
from ichd.store.arrivals import Arrivals
from ichd.store.held import Holdings

#: SH (PS3.5 6.2), less what C-FIND takes for wildcards or for several values.
_ACCESSION = re.compile(r"[^\x00-\x1f\\*?]{1,16}")
#: Below the spool's root, beside the folders of images.
_LOCK = ".pull"
_SETTLE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Meant:
    """Which studies are to be fetched."""

    query: StudyQuery
    #: Not those that began earlier.
    since: datetime | None = None


def studies_meant(*, study: str | None, accession: str | None, since: str | None, now: datetime) -> Meant:
    """What the options of `ichd pull` mean; `now` has the zone of the archive.

    Raises:
        UserError: not exactly one of them is given, or it can't be meant.
    """
    if sum(option is not None for option in (study, accession, since)) != 1:
        raise UserError("say which studies: one of --study UID, --accession NUMBER and --since 2h")
    if study is not None:
        if not is_uid(study):
            raise UserError(f"--study {study!r} is not a Study Instance UID (digits and dots, at most 64)")
        return Meant(query=StudyQuery(study_uid=study))
    if accession is not None:
        if not _ACCESSION.fullmatch(accession.strip()):
            raise UserError("--accession takes one number of at most 16 characters, without wildcards")
        return Meant(query=StudyQuery(accession_number=accession.strip()))
    start = ago(since or "", now)
    # The archive's clock may be ahead of ours, so the range has no end.
    return Meant(query=StudyQuery(first_date=f"{start:%Y%m%d}"), since=start)


@contextmanager
def pulling(settings: Settings, name: str) -> Iterator[Pull]:
    """A pull from the source of that name, the only one of this spool within the block.

    Raises:
        UserError: there is no such source, no database, or another pull runs.
        Transient: the database or the spool does not answer.
    """
    source = source_named(name, settings)
    require_database(settings.database.url)
    storage = open_storage(settings)
    arrivals = Arrivals(storage.engine)
    counter = Counter(
        arrivals,
        storage.spool,
        watermarks=watermarks(settings),
        max_instance_bytes=settings.dicom.max_instance_mb << 20,
        max_visit_bytes=settings.dicom.max_association_mb << 20,
    )
    clock = clock_of(storage.engine)
    counter.open(now=clock())
    try:
        with _alone(storage.spool.root / _LOCK), archive_of(source) as archive:
            place = f"{socket.gethostname()}/pull"
            # One that was killed left its visit open, and its study waiting for an end.
            arrivals.end_interrupted(listener=place, now=clock())
            waits = _SETTLE_S if _by_listener(source) else 0.0
            retriever = _retriever(source, counter, clock, place=place)
            yield Pull(archive, retriever, Holdings(storage.engine), settle_s=waits)
    finally:
        counter.close()
        storage.engine.dispose()


def _retriever(source: Source, counter: Counter, clock: Clock, *, place: str) -> Retriever:
    if isinstance(source, WebSource):
        return WebRetriever(source, counter, place=place, clock=clock)
    if source.retrieve == "move":
        return MoveRetriever(source)
    return GetRetriever(source, counter, place=place, clock=clock)


def _by_listener(source: Source) -> bool:
    return not isinstance(source, WebSource) and source.retrieve == "move"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a file that the operating system lets go of when we die.

    Raises:
        UserError: another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError("another `ichd pull` runs here; wait for its end") from None
        yield
    finally:
        os.close(descriptor)
