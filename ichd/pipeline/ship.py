"""The audit trail goes on to a syslog collector: everything, in order, at least once."""

from datetime import timedelta

import structlog

from ichd.domain.audit import AuditEntry
from ichd.domain.errors import Transient
from ichd.pipeline.clock import Clock
from ichd.publish.audit_message import AuditSource, render, render_unreadable
from ichd.publish.syslog import Collector, send, syslog_message
from ichd.store.audit import Audit, Batch
from ichd.telemetry import Survived

_log = structlog.get_logger(__name__)

CURSOR = "syslog"
_BATCH = 100
#: Of one call, so that a long backlog does not keep a stopping worker.
_MOST_BATCHES = 10
_FIRST_WAIT_S = 2.0
_LONGEST_WAIT_S = 60.0


class AuditShipper:
    """Used by one thread at a time. Where several workers ship, the collector may get an entry from each."""

    def __init__(self, audit: Audit, collector: Collector, source: AuditSource, clock: Clock) -> None:
        self._audit = audit
        self._collector = collector
        self._source = source
        self._clock = clock
        self._trouble: Transient | None = None
        self._wait_s = 0.0
        self._not_before = clock()

    def ship(self) -> None:
        """Hand on what was not handed on yet.

        Raises:
            Transient: the collector or the database is away; the next calls raise the same until it is time to try
                again. Nothing is lost, and the entries that were on their way are sent again.
        """
        if self._trouble is not None and self._clock() < self._not_before:
            raise self._trouble
        try:
            shipped = self._ship()
        except Transient as trouble:
            self._trouble = trouble
            self._wait_s = min(max(2 * self._wait_s, _FIRST_WAIT_S), _LONGEST_WAIT_S)
            self._not_before = self._clock() + timedelta(seconds=self._wait_s)
            raise
        if self._trouble is not None:
            _log.info("audit_trail_handed_on_again", entries=shipped)
        self._trouble, self._wait_s = None, 0.0

    def _ship(self) -> int:
        shipped = 0
        for _ in range(_MOST_BATCHES):
            batch = self._audit.pending(CURSOR, limit=_BATCH)
            if not batch.entries:
                break
            self._send(batch)
            shipped += len(batch.entries)
            if not self._audit.move(CURSOR, seen=batch.after_id, to=batch.entries[-1].id):
                break  # another worker was quicker, and is at it
        return shipped

    def _send(self, batch: Batch) -> None:
        messages = [syslog_message(self._render(entry), at=entry.at, host=self._source.host) for entry in batch.entries]
        send(self._collector, messages)

    def _render(self, entry: AuditEntry) -> bytes:
        # A defect met by one entry must not hold back the trail for ever.
        with Survived("audit_entry_not_rendered", entry=entry.id, audit_event=str(entry.event)):
            return render(entry, self._source)
        return render_unreadable(entry, self._source)
