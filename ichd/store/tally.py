"""What has happened since somebody began to count: new rows by their numbers, so that no table is counted as a whole.

A row is counted once it is a few seconds old, because numbers are given before transactions end: by then whoever took a
lower number has long shown his row.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, func, select
from sqlalchemy.orm import Session

from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.store.tables import FindingRow, InstanceRow, ReceiptRow, RefusalRow, StudyRow
from ichd.store.transaction import reading

_SETTLED_AFTER = timedelta(seconds=10)
#: Of one kind at a time; where more came, the next count goes on.
_AT_MOST = 5_000

#: What is counted of, by its number and time.
_Source = type[FindingRow] | type[InstanceRow] | type[ReceiptRow] | type[RefusalRow] | type[StudyRow]


@dataclass
class Tally:
    """Counts that only grow, from the moment of their first `count` on. For one thread at a time."""

    engine: Engine
    studies_received: int = 0
    studies_finished: Counter[StudyState] = field(default_factory=Counter)
    #: Last image to report, of studies that were reported since the last `count`.
    latencies_s: list[float] = field(default_factory=list)
    images: int = 0
    image_bytes: int = 0
    #: By destination.
    deliveries: Counter[str] = field(default_factory=Counter)
    refusals: Counter[Reason] = field(default_factory=Counter)
    #: Scans that a model has read, and what each stage of it took in all, s.
    readings: int = 0
    stages_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    #: Highest numbers that were seen; None before the first count.
    _seen: dict[str, int] | None = None
    _finished_until: datetime | None = None

    def count(self, *, now: datetime) -> None:
        """Add what came since the last time.

        Raises:
            Transient: the database does not answer.
        """
        settled = now - _SETTLED_AFTER
        self.latencies_s = []
        with reading(self.engine) as session:
            if self._seen is None:
                sources: tuple[_Source, ...] = (StudyRow, InstanceRow, ReceiptRow, RefusalRow, FindingRow)
                self._seen = {each.__tablename__: session.scalar(select(func.max(each.id))) or 0 for each in sources}
                self._finished_until = settled
                return
            came = self._new(session, select(StudyRow.id), StudyRow, StudyRow.received_at <= settled)
            self.studies_received += len(came)
            images = self._new(
                session, select(InstanceRow.id, InstanceRow.size), InstanceRow, InstanceRow.received_at <= settled
            )
            self.images += len(images)
            self.image_bytes += sum(image.size for image in images)
            taken = select(ReceiptRow.id, ReceiptRow.destination)
            sent = self._new(session, taken, ReceiptRow, ReceiptRow.sent_at <= settled)
            self.deliveries.update(receipt.destination for receipt in sent)
            turned_away = select(RefusalRow.id, RefusalRow.reason)
            refused = self._new(session, turned_away, RefusalRow, RefusalRow.refused_at <= settled)
            self.refusals.update(refusal.reason for refusal in refused)
            self._count_readings(session, settled)
            self._count_finished(session, settled)

    def _new(
        self, session: Session, rows: Select[int, *tuple[Any, ...]], source: _Source, old_enough: ColumnElement[bool]
    ) -> list[Any]:
        seen = self._seen or {}
        statement = rows.where(source.id > seen[source.__tablename__], old_enough).order_by(source.id).limit(_AT_MOST)
        found = list(session.execute(statement).all())
        if found:
            seen[source.__tablename__] = found[-1].id
        return found

    def _count_readings(self, session: Session, settled: datetime) -> None:
        timings = FindingRow.record["timings_ms"].label("timings_ms")
        read = select(FindingRow.id, FindingRow.scan, timings)
        for finding in self._new(session, read, FindingRow, FindingRow.created_at <= settled):
            if finding.scan is not None:
                self.readings += 1
                for stage, took_ms in (finding.timings_ms or {}).items():
                    self.stages_s[stage] += took_ms / 1000

    def _count_finished(self, session: Session, settled: datetime) -> None:
        """By time: a study has its number long before it ends. Its images are here, so that one index has them all."""
        since = self._finished_until or settled
        statement = (
            select(StudyRow.state, StudyRow.last_instance_at, StudyRow.finished_at)
            .where(StudyRow.images_dropped_at.is_(None), StudyRow.finished_at > since, StudyRow.finished_at <= settled)
            .order_by(StudyRow.finished_at)
            .limit(_AT_MOST)
        )
        ended = session.execute(statement).all()
        for study in ended:
            self.studies_finished[study.state] += 1
            if study.state is StudyState.REPORTED:
                self.latencies_s.append((study.finished_at - study.last_instance_at).total_seconds())
        self._finished_until = ended[-1].finished_at if len(ended) == _AT_MOST else max(settled, since)
