"""One model follows another: made ready aside, taken over between two studies, and never by halves."""

import threading
import time
from datetime import UTC, datetime, timedelta

from ichd.domain.errors import UserError
from ichd.pipeline.succession import Succession


class Court:
    """A succession of names; the throne is claimed by changing `claim`."""

    def __init__(self) -> None:
        self.claim = "first"
        self.looks = 0
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.may_finish = threading.Event()
        self.may_finish.set()
        self.trouble: str | None = None
        self.taken_over: list[str] = []
        self.failures: list[str] = []
        self.made = 0
        self.succession = Succession(
            "first",
            sign=self.sign,
            successor=self.make,
            take_over=self.taken_over.append,
            failed=self.failures.append,
            clock=lambda: self.now,
            seen="first",
        )

    def sign(self) -> str:
        self.looks += 1
        return self.claim

    def make(self, present: str) -> str | None:
        self.made += 1
        claim = self.claim
        self.may_finish.wait(10)
        if self.trouble == "named":
            raise UserError("its weights are damaged")
        if self.trouble == "unforeseen":
            raise RuntimeError("out of memory")
        return None if claim == present else claim

    def look(self) -> str:
        """After whatever is being made is made."""
        self.succession.look()
        deadline = time.monotonic() + 10
        while any(thread.name == "successor" for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return self.succession.look()


def test_nothing_is_made_while_nothing_changes() -> None:
    court = Court()
    assert [court.look() for _ in range(3)] == ["first"] * 3
    assert court.made == 0
    assert court.looks > 0


def test_the_present_one_reads_until_the_next_is_ready() -> None:
    court = Court()
    court.may_finish.clear()
    court.claim = "second"

    assert [court.succession.look() for _ in range(5)] == ["first"] * 5
    assert court.made == 1, "one attempt, however often is looked"
    court.may_finish.set()
    assert court.look() == "second"
    assert court.taken_over == ["second"]


def test_whoever_is_asked_between_looks_names_the_present_one() -> None:
    court = Court()
    court.claim = "second"
    court.succession.look()
    court.may_finish.wait()
    time.sleep(0.05)
    assert court.succession.present == "first", "ready is not taken over: a study may be under way"


def test_a_change_while_one_is_made_is_followed_as_well() -> None:
    court = Court()
    court.may_finish.clear()
    court.claim = "second"
    court.succession.look()
    court.claim = "third"
    court.may_finish.set()
    assert court.look() == "second" or court.look() == "third"
    assert court.look() == "third"


def test_one_that_can_not_be_made_leaves_the_present_one_and_is_tried_again_later() -> None:
    for trouble, said in (("named", "its weights are damaged"), ("unforeseen", "RuntimeError while it was loaded")):
        court = Court()
        court.claim, court.trouble = "second", trouble
        assert court.look() == "first"
        assert court.failures == [said]
        assert court.look() == "first"
        assert court.made == 1, "not at once"

        court.trouble = None
        court.now += timedelta(minutes=2)
        assert court.look() == "second"
        assert court.taken_over == ["second"]


def test_the_same_claim_changes_nothing() -> None:
    court = Court()
    court.claim = "first again"
    court.succession = Succession(
        "present",
        sign=court.sign,
        successor=lambda _present: None,
        take_over=court.taken_over.append,
        failed=court.failures.append,
        clock=lambda: court.now,
        seen="first",
    )
    assert court.look() == "present"
    assert (court.taken_over, court.failures) == ([], [])
