"""Leases of ticks: of any number of workers one does it, whoever dies is replaced, and trouble stands until mended."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from ichd.domain.reason import Reason
from ichd.store.engine import open_database
from ichd.store.ticks import Change, Ticks, Trouble, tick_states
from tests.store.house import NOON

EVERY = timedelta(hours=1)
LEASE = timedelta(seconds=15)
SECOND = timedelta(seconds=1)


def test_of_eight_workers_one_does_it_each_period(migrated_url: str) -> None:
    done: list[tuple[int, str]] = []
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        # Each with connections of its own, as processes have.
        engine = open_database(migrated_url)
        ticks = Ticks(engine, owner=f"worker-{number}")
        for period in range(5):
            now = NOON + period * EVERY
            barrier.wait(60)
            if ticks.claim("count", every=EVERY, lease=LEASE, now=now) is None:
                done.append((period, f"worker-{number}"))
                ticks.done("count", None, due_at=now + EVERY, now=now + SECOND)
            barrier.wait(60)
        engine.dispose()

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, number) for number in range(8)]:
            future.result(120)

    assert [period for period, _ in done] == [0, 1, 2, 3, 4]


def test_a_worker_that_dies_is_replaced_once_its_lease_ran_out(engine: Engine) -> None:
    dead, other = Ticks(engine, owner="dead"), Ticks(engine, owner="other")
    assert dead.claim("sweep@a", every=EVERY, lease=LEASE, now=NOON) is None

    assert other.claim("sweep@a", every=EVERY, lease=LEASE, now=NOON + 14 * SECOND) == NOON + LEASE
    assert other.claim("sweep@a", every=EVERY, lease=LEASE, now=NOON + LEASE) is None
    assert dead.done("sweep@a", None, due_at=NOON + EVERY, now=NOON + 16 * SECOND) is Change.LOST
    assert dead.keep(["sweep@a"], lease=LEASE, now=NOON + 16 * SECOND) == frozenset()


def test_who_keeps_a_lease_has_it_for_as_long_as_he_does(engine: Engine) -> None:
    ours, other = Ticks(engine, owner="ours"), Ticks(engine, owner="other")
    assert ours.claim("sweep", every=EVERY, lease=LEASE, now=NOON) is None
    assert ours.keep(["sweep"], lease=LEASE, now=NOON + 10 * SECOND) == {"sweep"}

    assert other.claim("sweep", every=EVERY, lease=LEASE, now=NOON + 16 * SECOND) == NOON + 25 * SECOND


def test_trouble_stands_with_its_beginning_until_a_run_finds_it_mended(engine: Engine) -> None:
    ticks = Ticks(engine, owner="ours")
    changes = []
    for hour, trouble in enumerate(
        [Trouble(reason=Reason.DISK_LOW, detail="96%"), Trouble(reason=Reason.DISK_LOW, detail="97%"), None, None]
    ):
        now = NOON + hour * EVERY
        assert ticks.claim("disk@a", every=EVERY, lease=LEASE, now=now) is None
        changes.append(ticks.done("disk@a", trouble, due_at=now + EVERY, now=now + SECOND))
        (state,) = tick_states(engine)
        assert (state.name, state.machine, state.trouble) == ("disk", "a", trouble)
        assert state.troubled_since == (NOON + SECOND if trouble else None)
        assert (state.ran_at, state.due_at) == (now + SECOND, now + EVERY)
    assert changes == [Change.TROUBLED, Change.NONE, Change.MENDED, Change.NONE]


@pytest.mark.parametrize("back", [timedelta(hours=3), timedelta(days=400)])
def test_a_clock_that_is_set_back_stops_no_tick(engine: Engine, back: timedelta) -> None:
    """What was written by the clock that was ahead is no word about when it is due, or whose it is."""
    dead, other = Ticks(engine, owner="dead"), Ticks(engine, owner="other")
    assert dead.claim("held", every=SECOND, lease=LEASE, now=NOON) is None
    assert dead.claim("done", every=EVERY, lease=LEASE, now=NOON) is None
    dead.done("done", None, due_at=NOON + EVERY, now=NOON)

    for name, every in (("held", SECOND), ("done", EVERY)):
        assert other.claim(name, every=every, lease=LEASE, now=NOON - back) is None


def test_who_stops_leaves_the_cluster_s_ticks_free_and_takes_those_of_his_machine_along(engine: Engine) -> None:
    leaving, other = Ticks(engine, owner="leaving"), Ticks(engine, owner="other")
    for name in ("close", "sweep@a", "test@a"):
        assert leaving.claim(name, every=EVERY, lease=LEASE, now=NOON) is None
    drifted = Trouble(reason=Reason.SELF_TEST_DRIFTED)
    leaving.done("test@a", drifted, due_at=NOON + EVERY, now=NOON)
    for name in ("sweep@b", "other@a"):
        assert other.claim(name, every=EVERY, lease=LEASE, now=NOON) is None

    leaving.give_up("a", now=NOON + SECOND)

    left = {f"{state.name}@{state.machine}": state for state in tick_states(engine)}
    assert sorted(left) == ["close@", "other@a", "sweep@b", "test@a"]
    assert left["test@a"].trouble == drifted, "trouble stays until somebody has looked again"
    for name in ("close", "test@a"):
        assert other.claim(name, every=EVERY, lease=LEASE, now=NOON + SECOND) is None


def test_a_worker_that_stops_takes_what_is_its_own_along_and_not_its_neighbours(engine: Engine) -> None:
    leaving, other = Ticks(engine, owner="leaving"), Ticks(engine, owner="other")
    for worker, ticks in (("worker-1", leaving), ("worker-2", other), ("worker-12", other)):
        assert ticks.claim(f"test@a/{worker}", every=EVERY, lease=LEASE, now=NOON) is None
        ticks.done(f"test@a/{worker}", None, due_at=NOON + EVERY, now=NOON)

    leaving.give_up("a", "a/worker-1", now=NOON + SECOND)

    assert [state.machine for state in tick_states(engine)] == ["a/worker-12", "a/worker-2"]


def test_a_machine_that_was_not_heard_of_for_a_day_is_forgotten(engine: Engine) -> None:
    ticks = Ticks(engine, owner="ours")
    for name in ("sweep@gone", "sweep@here", "close"):
        ticks.claim(name, every=EVERY, lease=LEASE, now=NOON)
        ticks.done(name, None, due_at=NOON + (25 if name == "sweep@here" else 1) * EVERY, now=NOON)

    assert ticks.forget(now=NOON + timedelta(hours=25, seconds=1)) == 1
    assert [(state.name, state.machine) for state in tick_states(engine)] == [("close", ""), ("sweep", "here")]
