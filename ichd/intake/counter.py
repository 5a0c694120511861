"""The counter behind the doors: it checks an image, stores it, commits, and only then says yes."""

from datetime import datetime

from ichd.domain.arrival import Door
from ichd.domain.errors import Refused, Transient
from ichd.domain.retention import USUAL, Watermarks
from ichd.intake.claim import Sender
from ichd.intake.disk_gate import DiskGate
from ichd.intake.endings import Endings
from ichd.intake.refusals import Refusals
from ichd.intake.shelf import Shelf
from ichd.intake.visit import Desk, Visit
from ichd.store.arrivals import Arrivals
from ichd.store.spool import Spool


class Counter:
    """Shared by all doors and their threads."""

    def __init__(
        self,
        arrivals: Arrivals,
        spool: Spool,
        *,
        watermarks: Watermarks = USUAL,
        max_instance_bytes: int = 64 << 20,
        max_visit_bytes: int = 64 << 30,
    ) -> None:
        self._spool = spool
        #: Whether the disk lets images in.
        self.gate = DiskGate(spool.free_fraction, watermarks)
        self._desk = Desk(
            arrivals=arrivals,
            shelf=Shelf(arrivals, spool, self.gate),
            refusals=Refusals(arrivals),
            endings=Endings(arrivals),
            max_instance_bytes=max_instance_bytes,
            max_visit_bytes=max_visit_bytes,
        )

    @property
    def max_instance_bytes(self) -> int:
        """Of a data set that is larger, nothing is kept; a door need not hold more of it."""
        return self._desk.max_instance_bytes

    def open(self, *, now: datetime) -> None:
        """Make ready to store, before anybody is let in.

        Raises:
            Transient: the spool or the database can't be written.
        """
        self._spool.prepare()
        self._desk.arrivals.rehearse(now=now)

    def close(self) -> None:
        """Nobody is at the counter any more: what could not be written down is tried once more, and then given up."""
        self._desk.endings.stop()

    def welcome(self, sender: Sender, *, door: Door, place: str, now: datetime) -> Visit:
        """Let a sender in; `place` is where it was listened for, such that one process at a time can listen there."""
        return Visit(self._desk, sender, door=door, place=place, opened_at=now)

    def turn_away_association(self, error: Refused | Transient, sender: Sender, *, now: datetime) -> None:
        """Write down that a sender was not let in."""
        self._desk.refusals.association(error, sender, now=now)
