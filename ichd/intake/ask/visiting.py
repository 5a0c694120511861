"""What is fetched comes over the counter like all that is sent."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from ichd.domain.arrival import Door
from ichd.intake.ask.errand import Tally, Wanted
from ichd.intake.claim import Claim, Sender
from ichd.intake.counter import Counter
from ichd.intake.visit import Visit
from ichd.store.draft import Fragment


class Delivery:
    """What a source hands over of one study, in one visit."""

    def __init__(self, visit: Visit, tally: Tally, clock: Callable[[], datetime]) -> None:
        self._visit = visit
        self._clock = clock
        self.tally = tally
        #: SOP Instance UIDs of what was stored.
        self._came: set[str] = set()

    def take(self, claim: Claim, fragments: Iterable[Fragment]) -> None:
        """Store an image.

        Raises:
            Refused, Transient: it is not stored.
        """
        with self._visit.receive(claim) as reception:
            for fragment in fragments:
                reception.write(fragment)
            uid = reception.admit(now=self._clock()).facts.sop_instance_uid
        # An image that is handed over twice is one image.
        if uid not in self._came:
            self._came.add(uid)
            self.tally.came()

    def is_whole(self, wanted: Sequence[Wanted]) -> bool:
        """Whether all that is wanted has come; what came besides makes up for nothing."""
        return all(self._came.issuperset(each.images) for each in wanted)


@contextmanager
def delivery(
    counter: Counter,
    sender: Sender,
    wanted: Sequence[Wanted],
    tally: Tally,
    *,
    place: str,
    clock: Callable[[], datetime],
) -> Iterator[Delivery]:
    """A visit of a source with what is wanted of one study."""
    visit = counter.welcome(sender, door=Door.PULL, place=place, now=clock())
    whole = False
    try:
        handed_over = Delivery(visit, tally, clock)
        yield handed_over
        whole = handed_over.is_whole(wanted)
    finally:
        # An end that left images behind must not look like one that is complete.
        visit.end(released=whole, now=clock())
