"""Those who wait share a transaction; nobody waits for company, and nobody pays for another's defect."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import IntegrityError

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.store.arrivals import ArrivalKind, Arrivals
from ichd.store.group_commit import GroupCommit
from ichd.store.recording import Arrival
from tests.store.house import House, image

PATIENCE_S = 10.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.001)


class Desk:
    """Writes batches; the first one is held up until it is told to go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.group = GroupCommit(self.write)

    def write(self, items: Sequence[int]) -> list[str]:
        self.batches.append(list(items))
        self.begun.set()
        assert self.go_on.wait(PATIENCE_S)
        if 13 in items:
            raise ValueError(f"{len(items)} with a bad one")
        if 7 in items:
            raise Transient(Reason.STORE_UNAVAILABLE, "away")
        return [f"row {item}" for item in items]

    def together(self, first: int, *others: int) -> dict[int, str | Exception]:
        """What becomes of items of which all but the first come while the first is written."""

        def submit(item: int) -> str | Exception:
            try:
                return self.group.submit(item)
            except (ValueError, Transient) as error:
                return error

        with ThreadPoolExecutor(1 + len(others)) as pool:
            outcomes = {first: pool.submit(submit, first)}
            assert self.begun.wait(PATIENCE_S)
            outcomes |= {item: pool.submit(submit, item) for item in others}
            until(lambda: len(self.group._waiting) == len(others))
            self.go_on.set()
            return {item: outcome.result(PATIENCE_S) for item, outcome in outcomes.items()}


def test_who_comes_while_another_is_written_shares_the_next_transaction() -> None:
    desk = Desk()
    assert desk.together(1, 2, 3, 4) == {n: f"row {n}" for n in (1, 2, 3, 4)}
    assert [sorted(batch) for batch in desk.batches] == [[1], [2, 3, 4]]


def test_one_alone_is_written_at_once_and_alone() -> None:
    desk = Desk()
    desk.go_on.set()
    assert [desk.group.submit(n) for n in (1, 2)] == ["row 1", "row 2"]
    assert desk.batches == [[1], [2]]


def test_a_bad_one_spoils_nothing_but_itself() -> None:
    desk = Desk()
    outcomes = desk.together(1, 2, 13, 3)
    assert isinstance(outcomes.pop(13), ValueError)
    assert outcomes == {1: "row 1", 2: "row 2", 3: "row 3"}


def test_a_database_that_is_away_is_away_for_all_and_asked_once() -> None:
    desk = Desk()
    outcomes = desk.together(1, 2, 7, 3)
    assert [type(outcomes[n]) for n in (2, 7, 3)] == [Transient] * 3
    assert len({id(outcomes[n]) for n in (2, 7, 3)}) == 3
    assert len(desk.batches) == 2
    assert desk.group.submit(4) == "row 4"


def test_every_item_of_a_crowd_is_written_once() -> None:
    written: list[int] = []

    def write(items: Sequence[int]) -> list[int]:
        written.extend(items)
        return list(items)

    group = GroupCommit(write)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(group.submit, range(2000))) == list(range(2000))
    assert sorted(written) == list(range(2000))


def test_images_of_one_batch_are_each_told_their_own(house: House, engine: Engine) -> None:
    """New, repeated, in conflict, with an unknown series and of another study, all in one transaction."""
    association_id = house.open_association()
    house.arrive(image(9), association_id=association_id)
    facts = [image(1), image(2, study="1.2.840.2"), image(1), image(1), image(9), image(3, series="1.2.840.1.77")]
    contents = [b"1", b"2", b"1", b"other", image(9).sop_instance_uid.encode(), b"3"]
    arrivals = [
        Arrival(facts=f, stored=house.spool.write([c]), association_id=association_id, at=house.now)
        for f, c in zip(facts, contents, strict=True)
    ]
    commits: list[object] = []
    event.listen(engine, "commit", commits.append)
    assert house.arrivals._record_all(arrivals) == [
        ArrivalKind.NEW,
        ArrivalKind.NEW,
        ArrivalKind.DUPLICATE,
        ArrivalKind.CONFLICT,
        ArrivalKind.DUPLICATE,
        ArrivalKind.NEW,
    ]
    assert len(commits) == 1
    assert [(s.slices, s.series) for s in house.studies.summaries()] == [(1, 1), (3, 2)]


def test_an_image_that_can_not_be_written_leaves_its_company_whole(house: House) -> None:
    association_id = house.open_association()
    good, bad = (
        Arrival(facts=image(n), stored=house.spool.write([b"x"]), association_id=a, at=house.now)
        for n, a in ((1, association_id), (2, 10**6))
    )
    held = threading.Event()

    class Held(Arrivals):
        def _record_all(self, arrivals: Sequence[Arrival]) -> list[ArrivalKind]:
            assert held.wait(PATIENCE_S)
            return super()._record_all(arrivals)

    arrivals = Held(house.engine)

    def record(arrival: Arrival) -> ArrivalKind:
        return arrivals.record(arrival.facts, arrival.stored, association_id=arrival.association_id, now=arrival.at)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(record, replace(good, facts=image(3), stored=house.spool.write([b"y"])))
        until(lambda: arrivals._recordings._led)
        others = [pool.submit(record, good), pool.submit(record, bad)]
        until(lambda: len(arrivals._recordings._waiting) == 2)
        held.set()
        assert first.result(PATIENCE_S) is others[0].result(PATIENCE_S) is ArrivalKind.NEW
        with pytest.raises(IntegrityError):
            others[1].result(PATIENCE_S)
    assert house.summary().slices == 2


def test_batches_of_several_processes_never_wait_in_a_circle(house: House) -> None:
    """Each of four has an own queue, as processes have, and brings the same studies and images in another order."""
    association_id = house.open_association()
    numbers = list(range(6))

    def send(turn: int) -> list[ArrivalKind]:
        arrivals = Arrivals(house.engine)
        kinds: list[ArrivalKind] = []
        for number in numbers[turn:] + numbers[:turn]:
            batch = [
                Arrival(
                    facts=image(number, study=f"1.2.840.{5 + (study + turn) % 3}"),
                    stored=house.spool.write([b"same"]),
                    association_id=association_id,
                    at=house.now,
                )
                for study in range(3)
            ]
            kinds += arrivals._record_all(batch)
        return kinds

    with ThreadPoolExecutor(4) as pool:
        kinds = [kind for sent in pool.map(send, range(4)) for kind in sent]
    assert kinds.count(ArrivalKind.NEW) == 18
    assert kinds.count(ArrivalKind.DUPLICATE) == 54
