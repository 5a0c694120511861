"""What happens by the clock: one thing that fails keeps no other from its turn, and of many workers one does it."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from ichd.domain.completeness import CompletenessPolicy
from ichd.domain.errors import Transient
from ichd.domain.job import RetryPolicy
from ichd.domain.reason import Reason
from ichd.pipeline import turns
from ichd.pipeline.ticks import FORGET_AFTER, TickPolicy, start_ticks, usual_ticks
from ichd.pipeline.turns import Tick, Turn
from ichd.store.ticks import Ticks, TickState, Trouble, tick_states
from tests.store.house import House

HOUR = timedelta(hours=1)


def utc_now() -> datetime:
    return datetime.now(UTC)


def eventually(condition: Callable[[], object]) -> bool:
    pause = threading.Event()
    return any(condition() or pause.wait(0.05) for _ in range(600))


def turn_of(house: House, owner: str, tick: Tick) -> Turn:
    return Turn(tick, Ticks(house.engine, owner=owner), utc_now, place="here")


def only_state(house: House) -> TickState:
    (state,) = tick_states(house.engine)
    return state


def test_a_sweep_that_fails_keeps_no_other_from_tidying_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ichd.pipeline.ticks._FIRST_SWEEP_AFTER", timedelta())
    house.arrivals.refuse(
        Reason.TRUNCATED,
        detail="",
        calling_ae_title="CT1",
        address="192.0.2.1",
        sop_class_uid=None,
        sop_instance_uid=None,
        now=utc_now() - FORGET_AFTER - timedelta(days=1),
    )
    swept = threading.Event()

    def failing(_now: datetime) -> int:
        raise Transient(Reason.STORE_UNAVAILABLE, "spool: Not a directory")

    def sound(_now: datetime) -> int:
        swept.set()
        return 0

    usual = usual_ticks(
        house.studies,
        TickPolicy(completeness=CompletenessPolicy(), retry=RetryPolicy(), lease_s=15.0),
        utc_now,
        study_ready=lambda: None,
        sweeps={"failing": failing, "sound": sound},
        destinations=frozenset(),
    )
    ticks = Ticks(house.engine, owner="ours")
    schedule = start_ticks([turn_of(house, "ours", tick) for tick in usual], ticks, utc_now)
    try:
        assert swept.wait(30)
        assert eventually(lambda: not house.arrivals.refusals()), "old words are forgotten"

        def failed() -> bool:
            troubled = {state.name: state.trouble for state in tick_states(house.engine) if state.trouble}
            return troubled == {
                "sweep_failing": Trouble(reason=Reason.STORE_UNAVAILABLE, detail="spool: Not a directory")
            }

        assert eventually(failed)
    finally:
        schedule.shutdown()
    assert {state.machine for state in tick_states(house.engine) if not state.trouble} == {""}, "the machine's are gone"


def test_two_workers_take_turns_and_each_period_has_one_run(house: House) -> None:
    ran: list[str] = []
    workers = []
    for owner in ("a", "b"):
        tick = Tick(name="count", every=timedelta(seconds=6), run=lambda owner=owner: ran.append(owner))  # type: ignore[misc]
        workers.append(turn_of(house, owner, tick))

    for _ in range(5):
        for worker in workers:
            worker.take()

    assert ran == ["a"]


def test_what_is_held_writes_to_the_database_twice_a_lease_and_not_each_time(house: House) -> None:
    ran: list[int] = []
    leader = turn_of(house, "a", Tick(name="close", every=timedelta(seconds=0.1), run=lambda: ran.append(1)))
    follower = turn_of(house, "b", Tick(name="close", every=timedelta(seconds=0.1), run=lambda: ran.append(2)))
    leader.take()
    first = only_state(house)

    for _ in range(20):
        leader.take()
        follower.take()

    assert ran == [1] * 21
    assert only_state(house) == first


def test_who_is_killed_while_he_holds_a_tick_is_replaced_within_its_lease(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "HELD_LEASE", timedelta(seconds=0.5))
    ran: list[str] = []
    close = timedelta(seconds=0.1)
    began = time.monotonic()
    turn_of(house, "killed", Tick(name="close", every=close, run=lambda: ran.append("killed"))).take()
    other = turn_of(house, "other", Tick(name="close", every=close, run=lambda: ran.append("other")))

    def replaced() -> bool:
        other.take()
        return "other" in ran

    assert eventually(replaced)

    assert ran == ["killed", "other"]
    assert time.monotonic() - began >= 0.3, "not before the lease ran out"


def test_a_run_that_takes_longer_than_its_lease_keeps_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LEASE", timedelta(seconds=0.6))
    go_on = threading.Event()
    slow = turn_of(house, "slow", Tick(name="sweep", every=HOUR, run=lambda: (go_on.wait(60), None)[1]))
    ran: list[str] = []
    other = turn_of(house, "other", Tick(name="sweep", every=HOUR, run=lambda: ran.append("other")))
    thread = threading.Thread(target=slow.take)
    thread.start()
    assert eventually(lambda: tick_states(house.engine))

    until = time.monotonic() + 2
    while time.monotonic() < until:
        slow.renew()
        other.take()
        threading.Event().wait(0.05)
    go_on.set()
    thread.join(60)

    assert ran == []
    assert only_state(house).ran_at is not None


def test_a_defect_is_trouble_of_its_tick_until_a_run_goes_well(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_AGAIN_AFTER", timedelta())
    broken = [True]

    def run() -> None:
        if broken[0]:
            raise ZeroDivisionError("DOE^JANE")

    turn = turn_of(house, "ours", Tick(name="sweep", every=HOUR, run=run))
    with capture_logs() as logs:
        turn.take()
        turn.take()
        assert only_state(house).trouble == Trouble(reason=Reason.INTERNAL_ERROR, detail="ZeroDivisionError")
        broken[0] = False
        turn.take()

    assert only_state(house).trouble is None
    events = [entry["event"] for entry in logs]
    assert events == ["tick_failed", "tick_troubled", "tick_failed", "tick_mended"]


@pytest.mark.parametrize(("again_after", "due_after"), [(None, timedelta(minutes=1)), (HOUR / 2, HOUR / 2)])
def test_what_costs_others_something_is_not_tried_again_soon(
    house: House, again_after: timedelta | None, due_after: timedelta
) -> None:
    trouble = Trouble(reason=Reason.INTERNAL_ERROR)
    tick = Tick(name="sweep", every=HOUR, run=lambda: trouble, again_after=again_after)
    before = datetime.now(UTC)
    turn_of(house, "ours", tick).take()
    state = only_state(house)
    assert state.ran_at is not None
    assert before + due_after <= state.due_at <= state.ran_at + due_after


def test_a_database_that_is_away_is_said_once_and_asked_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_AWAY_S", 0.0)
    ran: list[int] = []
    ticks = Ticks(house.engine, owner="ours")
    turn = Turn(Tick(name="sweep", every=HOUR, run=lambda: ran.append(1)), ticks, utc_now, place="here")
    whole = ticks.claim

    def away(*_: object, **__: object) -> None:
        raise Transient(Reason.STORE_UNAVAILABLE)

    with capture_logs() as logs:
        monkeypatch.setattr(ticks, "claim", away)
        turn.take()
        turn.take()
        monkeypatch.setattr(ticks, "claim", whole)
        turn.take()

    assert ran == [1]
    assert [entry["event"] for entry in logs] == ["tick_not_claimed"]
