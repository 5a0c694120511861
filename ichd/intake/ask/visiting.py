"""What is fetched comes over the counter like all that is sent."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from ichd.domain.arrival import Door
from ichd.intake.admit import Counter, Sender, Visit
from ichd.intake.ask.errand import Wanted


@contextmanager
def visiting(
    counter: Counter, sender: Sender, wanted: Sequence[Wanted], *, place: str, clock: Callable[[], datetime]
) -> Iterator[Visit]:
    """A visit of a source with what is wanted of one study."""
    visit = counter.welcome(sender, door=Door.PULL, place=place, now=clock())
    whole = False
    try:
        yield visit
        whole = visit.stored >= sum(len(each.images) for each in wanted)
    finally:
        # An end that left images behind must not look like one that is complete.
        visit.end(released=whole, now=clock())
