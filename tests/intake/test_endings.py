"""The end of an association reaches the database, late if need be."""

import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine
from structlog.testing import capture_logs

from ichd.domain.arrival import Door
from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.intake.claim import Sender
from ichd.intake.endings import Ending, Endings, Fruitless
from ichd.store.arrivals import Arrivals
from ichd.store.tables import AssociationRow
from tests.intake.conftest import House, now
from tests.intake.images import encode, image
from tests.intake.senders import SUCCESS


class Flaky(Arrivals):
    """A database that fails `failures` times."""

    def __init__(self, engine: Engine, failures: int) -> None:
        super().__init__(engine)
        self.failures = failures

    def end_association(self, association_id: int, **words: Any) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise Transient(Reason.STORE_UNAVAILABLE, "away")
        super().end_association(association_id, **words)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def ending(house: House, *, released: bool = True, refused: int = 0) -> Ending:
    association_id = house.arrivals.open_association(calling_ae_title="CT1", address="127.0.0.1", now=now())
    return Ending(association_id=association_id, released=released, refused=refused, ended_at=now())


def is_idle() -> bool:
    return all(thread.name != "ichd-endings" for thread in threading.enumerate())


def test_ends_are_written_late_with_the_time_at_which_they_came(house: House) -> None:
    endings = Endings(Flaky(house.engine, failures=4), first_wait_s=0.01)
    first, second = ending(house), ending(house, released=False, refused=2)
    endings.record(first)
    endings.record(second)
    until(is_idle)
    rows = {row.id: row for row in house.rows(AssociationRow)}
    assert (rows[first.association_id].ended_at, rows[first.association_id].released) == (first.ended_at, True)
    late = rows[second.association_id]
    assert (late.ended_at, late.released, late.refused) == (second.ended_at, False, 2)


def test_trying_again_has_an_end_and_the_next_one_starts_afresh(house: House) -> None:
    arrivals = Flaky(house.engine, failures=1000)
    endings = Endings(arrivals, first_wait_s=0.001, attempts=3)
    lost = ending(house)
    with capture_logs() as logs:
        endings.record(lost)
        until(is_idle)
    assert [entry["associations"] for entry in logs if entry["event"] == "association_ends_not_recorded"] == [
        [lost.association_id]
    ]
    arrivals.failures = 1
    kept = ending(house)
    endings.record(kept)
    until(is_idle)
    assert [row.ended_at for row in house.rows(AssociationRow)] == [None, kept.ended_at]


def test_the_end_of_one_that_lost_an_image_and_kept_none_is_written_late_as_well(house: House) -> None:
    class Away(Arrivals):
        failures = 2

        def note_fruitless(self, **words: Any) -> None:
            if self.failures > 0:
                self.failures -= 1
                raise Transient(Reason.STORE_UNAVAILABLE, "away")
            super().note_fruitless(**words)

    with house.sender() as sender:
        assert sender.store(encode(image(1)), image(1).SOPInstanceUID).status == SUCCESS
    until(lambda: house.association().ended_at is not None)
    lost = Fruitless(
        door=Door.DIMSE,
        sender=Sender(calling_ae_title="CT1", address="127.0.0.1"),
        listener="here:11112",
        opened_at=now(),
        released=False,
        refused=1,
        missed=[image(1).StudyInstanceUID],
        ended_at=now(),
    )
    endings = Endings(Away(house.engine), first_wait_s=0.01)
    endings.record(lost)
    until(is_idle)
    row = house.rows(AssociationRow)[1]
    assert (row.opened_at, row.ended_at, row.released, row.refused) == (lost.opened_at, lost.ended_at, False, 1)


def test_stopping_tries_once_more_and_returns_once_that_is_done(house: House) -> None:
    """What comes next is the end of the database's connections, and of the process."""
    endings = Endings(Flaky(house.engine, failures=1), first_wait_s=3600)
    last = ending(house)
    endings.record(last)
    endings.stop()
    row = house.association()
    assert (row.ended_at, row.released) == (last.ended_at, True)
    assert is_idle()


def test_stopping_does_not_wait_for_a_database_that_does_not_answer(house: House) -> None:
    answers = threading.Event()

    class Silent(Flaky):
        def end_association(self, association_id: int, **words: Any) -> None:
            if self.failures == 0:
                answers.wait(60)
            super().end_association(association_id, **words)

    endings = Endings(Silent(house.engine, failures=1), first_wait_s=3600)
    endings.record(ending(house))
    try:
        endings.stop(wait_s=0.05)
        assert not is_idle()
    finally:
        answers.set()
    until(is_idle)


def test_an_end_that_can_never_be_written_keeps_no_other_waiting(house: House) -> None:
    class Broken(Flaky):
        def end_association(self, association_id: int, **words: Any) -> None:
            if self.failures == 0 and association_id == hopeless.association_id:
                raise LookupError("Doe^Jane")
            super().end_association(association_id, **words)

    hopeless, other, later = ending(house), ending(house), ending(house)
    arrivals = Broken(house.engine, failures=2)
    endings = Endings(arrivals, first_wait_s=0.01)
    with capture_logs() as logs:
        endings.record(hopeless)
        endings.record(other)
        until(is_idle)
        arrivals.failures = 1
        endings.record(later)
        until(is_idle)
    (dropped,) = (entry for entry in logs if entry["event"] == "association_end_dropped")
    assert dropped["error"] == "LookupError"
    assert "Doe" not in str(logs)
    ended = {row.id: row.ended_at for row in house.rows(AssociationRow)}
    assert ended == {
        hopeless.association_id: None,
        other.association_id: other.ended_at,
        later.association_id: later.ended_at,
    }
