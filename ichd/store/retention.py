"""Retention: the images of studies that are done with make room; what was found, said and sent of them stays.

Rows first, files after: a study's images are dropped in one transaction that holds the study and has looked at it
again, and are deleted once that is committed. Whoever dies in between leaves a file whose row says that it is gone,
which the sweep of the spool deletes, and objects that are owed to be removed (`ichd.store.removal`). The other way
round a study could lose its images to a transaction that fails, or to a late slice that comes in between.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Engine, delete, select, update
from sqlalchemy.orm import Session

from ichd.domain.audit import OURSELVES, AuditEvent, AuditOutcome
from ichd.domain.retention import Cause, RetentionPolicy, is_done_with
from ichd.store.audit import record_audit
from ichd.store.kept import Amount, Candidate, FileHere, candidates, files_here, owes
from ichd.store.removal import owe_removal
from ichd.store.spool import Spool
from ichd.store.study_row import known
from ichd.store.tables import ConflictRow, InstanceRow, SeriesRow, StudyRow, UploadRow
from ichd.store.transaction import writing

log = structlog.get_logger(__name__)

#: Studies that `Dropped.first` names.
_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """What one run dropped, or would drop."""

    by: Mapping[Cause, Amount]
    #: Used share of the spool's disk before and after it, 0 to 1.
    used_before: float
    used_after: float
    #: It went on until nothing was left, and the disk is still short.
    still_short: bool
    #: The first of them, in the order in which they go.
    first: tuple[tuple[Candidate, Cause], ...]

    @property
    def total(self) -> Amount:
        """All of it."""
        return sum(self.by.values(), start=Amount())


class Retention:
    """Decides what goes, and lets it go. Any number of workers may run it side by side.

    Every method raises Transient where the database or the disk fails; what was dropped until then stays dropped.
    """

    def __init__(self, engine: Engine, spool: Spool, policy: RetentionPolicy) -> None:
        self._engine = engine
        self._spool = spool
        self._policy = policy
        #: Whether the last run left the disk short.
        self._was_short = False

    def run(self, now: datetime) -> Dropped:
        """Drop what is due: by age, and for as long as the disk is short the oldest first.

        Objects of a bucket go last, with those that an earlier run, or its death, left there.
        """
        dropped = self._go_through(now, lambda candidate, cause: self._drop(candidate, cause, now))
        total = dropped.total
        if total.studies:
            log.info(
                "images_dropped",
                studies=total.studies,
                images=total.images,
                bytes=total.bytes,
                why=[str(cause) for cause, amount in dropped.by.items() if amount.studies],
                used=round(dropped.used_after, 3),
            )
        if dropped.still_short and not self._was_short:
            log.warning("disk_short", used=round(dropped.used_after, 3), mend="`ichd gc --dry-run` says what is kept")
        self._was_short = dropped.still_short
        self._spool.remove_owed()
        return dropped

    def plan(self, now: datetime) -> Dropped:
        """What `run` would drop; nothing is changed."""
        return self._go_through(now, lambda candidate, _: candidate.amount)

    def _go_through(self, now: datetime, take: Callable[[Candidate, Cause], Amount | None]) -> Dropped:
        """`take` what is due, study by study; it says how much that was, None where it was not to be had."""
        used_before, size = self._used(), self._spool.disk_bytes()
        by = dict.fromkeys(Cause, Amount())

        def used() -> float:
            """Counted too, and not only measured: some file systems give room back long after a file was deleted, and
            until they have, everything would go."""
            freed = sum(amount.bytes for amount in by.values()) / size if size else 0.0
            return max(0.0, min(self._used(), used_before - freed))

        first: list[tuple[Candidate, Cause]] = []
        for candidate, cause in self._due(used, now):
            amount = take(candidate, cause)
            if amount is not None:
                by[cause] += amount
                first += [(candidate, cause)][: _SHOWN - len(first)]
        used_after = used()
        was_short = self._was_short or by[Cause.DISK].studies > 0
        return Dropped(
            by=by,
            used_before=used_before,
            used_after=used_after,
            still_short=self._policy.makes_room and self._policy.watermarks.is_short(used_after, was_short=was_short),
            first=tuple(first),
        )

    def _due(self, used: Callable[[], float], now: datetime) -> Iterator[tuple[Candidate, Cause]]:
        """What is to go next; `used` says how full the disk is without what has gone."""
        expired = self._policy.expired_before(now)
        if expired is not None:
            yield from ((each, Cause.AGE) for each in candidates(self._engine, finished_before=expired))
        marks = self._policy.watermarks
        if not self._policy.makes_room or not marks.is_short(used(), was_short=self._was_short):
            return
        for candidate in candidates(self._engine, finished_from=expired):
            if not marks.is_short(used(), was_short=True):
                return
            yield candidate, Cause.DISK

    def _drop(self, candidate: Candidate, cause: Cause, now: datetime) -> Amount | None:
        """Drop the images of a study; None where it is not done with any more, or somebody else was faster."""
        with writing(self._engine) as session:
            study = known(session, candidate.study_id)
            if study is None or study.images_dropped_at is not None:
                return None
            if not is_done_with(study.state, owes=owes(session, study.id)):
                return None
            files = files_here(session, study.id)
            _give_up(session, study, files, now)
            _tell(session, study, files, cause, now)
            if self._spool.has_bucket:
                owe_removal(session, [file.stored for file in files], now)
        # A file here has a name of its own: whoever sends the same bytes again writes another one.
        for file in files:
            self._spool.discard(file.stored.path)
        return Amount(studies=1, images=len(files), bytes=sum(file.stored.size for file in files))

    def _used(self) -> float:
        return 1 - self._spool.free_fraction()


def _give_up(session: Session, study: StudyRow, files: Sequence[FileHere], now: datetime) -> None:
    """Write down that the files of a study are dropped, those of conflicting duplicates among them, owed to nobody."""
    series = select(SeriesRow.id).where(SeriesRow.study_id == study.id)
    instances = update(InstanceRow).where(InstanceRow.series_id.in_(series), InstanceRow.dropped_at.is_(None))
    conflicts = update(ConflictRow).where(ConflictRow.study_id == study.id, ConflictRow.dropped_at.is_(None))
    for statement in (instances, conflicts):
        session.execute(statement.values(dropped_at=now), execution_options={"synchronize_session": False})
    study.images_dropped_at = now
    session.execute(delete(UploadRow).where(UploadRow.path.in_([file.stored.path for file in files])))


def _tell(session: Session, study: StudyRow, files: list[FileHere], cause: Cause, now: datetime) -> None:
    record_audit(
        session,
        at=now,
        event=AuditEvent.IMAGES_DROPPED,
        outcome=AuditOutcome.SUCCESS,
        actor=OURSELVES,
        subject={
            "study_instance_uid": study.study_instance_uid,
            "instances": len(files),
            "sop_class_uids": sorted({file.sop_class_uid for file in files if file.sop_class_uid}),
            "why": str(cause),
        },
    )
