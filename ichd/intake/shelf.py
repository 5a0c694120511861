"""From a whole file to a committed row: the last steps before a sender is told yes."""

from datetime import datetime

import structlog

from ichd.domain.errors import CodedError, Transient
from ichd.domain.reason import Reason
from ichd.domain.study import InstanceFacts
from ichd.intake.disk_gate import DiskGate
from ichd.store.arrivals import ArrivalKind, Arrivals, forgotten_meanwhile
from ichd.store.spool import Draft, Spool, StoredFile

_log = structlog.get_logger(__name__)


class Shelf:
    """The spool and the rows of what lies there, kept in step. Shared by all doors and their threads."""

    def __init__(self, arrivals: Arrivals, spool: Spool, gate: DiskGate) -> None:
        self._arrivals = arrivals
        self._spool = spool
        self._gate = gate

    def draft(self) -> Draft:
        """Begin a file.

        Raises:
            Transient: the disk is nearly full (DISK_LOW), or the spool or its bucket can't be written.
        """
        self._gate.require_open()
        self._spool.require_open()
        return self._spool.draft()

    def keep(self, draft: Draft, facts: InstanceFacts, *, association_id: int, now: datetime) -> ArrivalKind:
        """Take one image; when this returns, its bytes and its row survive a loss of power.

        With a bucket and `spool.durability = "remote"` they survive the loss of this machine as well.

        Raises:
            Transient: the spool, its bucket or the database fails; the image may be sent again.
        """
        stored = draft.seal()
        kind = self._place(stored, facts, association_id=association_id, now=now)
        while not self._is_secure(stored, facts, kind):
            # The image that was there already is not there any more: what was a repeated one is a new one now.
            kind = self._place(stored, facts, association_id=association_id, now=now)
        if kind is ArrivalKind.DUPLICATE:
            self._discard(stored)
        return kind

    def _place(self, stored: StoredFile, facts: InstanceFacts, *, association_id: int, now: datetime) -> ArrivalKind:
        """Commit a row for a file, with what is owed of it to a bucket; one that is there twice has none."""
        # Where this fails the file stays: a database that lost its answer may have committed the row. The sweep of the
        # spool sets aside what has no row.
        debtor = self._spool.debtor
        kind = self._arrivals.record(facts, stored, association_id=association_id, now=now, debtor=debtor)
        if kind is ArrivalKind.DUPLICATE:
            kind = self._mend(facts, stored, association_id=association_id, now=now)
        if kind is not ArrivalKind.DUPLICATE and not self._spool.holds(stored):
            # The disk or the database kept us waiting for so long, or the clock was set so far ahead, that the sweep
            # took the file for an orphan. It looks for a row once more afterwards, as we look for the file.
            self._arrivals.forget(stored)
            raise Transient(Reason.STORE_UNAVAILABLE, "the file was set aside before its row was committed")
        return kind

    def _is_secure(self, stored: StoredFile, facts: InstanceFacts, kind: ArrivalKind) -> bool:
        """Bring an image to where it must lie before the answer; False where a repeated one has lost the first one.

        A repeated one is brought as well: whoever brings the first may not have got there yet, and may never.
        """
        try:
            if not self._spool.secure(stored) or self._arrivals.settle(facts, stored):
                return True
        except CodedError as trouble:
            # A row that is committed stays, and with it what is owed: this machine brings it once that can be done,
            # and a sender that comes back finds it. To take it back could take it from another one, who sent the same
            # and was told meanwhile that it is safe.
            if kind is ArrivalKind.DUPLICATE:
                self._discard(stored)
            raise Transient(Reason.STORE_UNAVAILABLE, trouble.detail) from trouble
        if kind is not ArrivalKind.DUPLICATE:
            raise Transient(Reason.STORE_UNAVAILABLE, "the image was dropped before it was acknowledged")
        return False

    def _discard(self, stored: StoredFile) -> None:
        """Remove a repeated image; one that stays is no reason to say no, as the first one is safe."""
        try:
            self._spool.discard(stored.path)
        except Transient as trouble:
            # It has no row: the sweep of the spool sets it aside.
            _log.warning("duplicate_not_removed", detail=trouble.detail, file=stored.path)

    def _mend(self, facts: InstanceFacts, stored: StoredFile, *, association_id: int, now: datetime) -> ArrivalKind:
        """A repeated image is thrown away only where the first one is still whole; else it takes its place."""
        first = self._arrivals.first_file(facts)
        if first is None:
            raise forgotten_meanwhile()
        if first.sha256 != stored.sha256 or not self._spool.wants(first):
            return ArrivalKind.DUPLICATE
        debtor = self._spool.debtor
        kind = self._arrivals.replace(first, facts, stored, association_id=association_id, now=now, debtor=debtor)
        _log.warning("damaged_file_replaced", study=facts.study_instance_uid, file=first.path)
        return kind
