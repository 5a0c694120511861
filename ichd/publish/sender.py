"""What every way out can do, and what only some can."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from ichd.domain.delivery import Outgoing, Parcel, Receipt
from ichd.publish.commitment import CommitmentReport


class Sender(Protocol):
    """A way to one destination. Safe for any number of threads: each delivery has a connection of its own."""

    @property
    def name(self) -> str:
        """How receipts and messages call the destination."""

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there stays on this machine."""

    def deliver(self, parcel: Parcel, *, now: datetime) -> Receipt:
        """Send a parcel; the receipt names what was acknowledged.

        All or nothing: an object that fails ends the delivery, and sending the others again later changes nothing
        there, since they keep their UIDs.

        Raises:
            Transient: the same delivery may succeed later.
            Permanent: it will not.
        """

    def check(self) -> str:
        """See whether the destination is there: what it said, as a part of a sentence.

        Raises:
            Transient, Permanent: it does not say it.
        """


@runtime_checkable
class ReadsBack(Protocol):
    """One that can be asked what it holds."""

    def missing(self, study_instance_uid: str, objects: Sequence[Outgoing]) -> tuple[str, ...]:
        """SOP Instance UIDs of those objects that the destination does not list, in their order.

        Raises:
            Transient, Permanent: it can't be asked.
        """


@runtime_checkable
class Commits(Protocol):
    """One that can take responsibility for what it holds (PS3.4 annex J)."""

    def request_commitment(
        self, transaction_uid: str, objects: Sequence[Outgoing], *, patience_s: float
    ) -> CommitmentReport | None:
        """Ask for it; the answer where it comes on the same association, else None: it comes to our listener later.

        Raises:
            Transient: the same request may succeed later.
            Permanent: it will not.
        """
