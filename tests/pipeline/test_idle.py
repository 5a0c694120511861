"""Idle work: the urgent first, jobs before all of it, and no defect of it touches them."""

import threading

from structlog.testing import capture_logs

from ichd.domain.errors import Transient
from ichd.domain.job import JobKind, RetryPolicy
from ichd.domain.reason import Reason
from ichd.pipeline.idle import IdleWork
from ichd.pipeline.worker import Worker, WorkerPolicy
from ichd.store.queue import Job
from tests.store.house import House

POLICY = WorkerPolicy(poll_s=0.01, lease_s=15.0, grace_s=5.0, retry=RetryPolicy())


def test_the_second_kind_waits_until_the_first_has_nothing_to_do(house: House) -> None:
    done: list[str] = []

    def piece(name: str, pieces: int) -> bool:
        if done.count(name) == pieces:
            return False
        done.append(name)
        return True

    idle = IdleWork({"a": lambda: piece("a", 2), "b": lambda: piece("b", 1)}, lambda: house.now)
    assert [idle.step() for _ in range(4)] == [True, True, True, False]
    assert done == ["a", "a", "b"]


def test_a_defect_is_logged_and_rests_while_the_others_go_on(house: House) -> None:
    tried: list[str] = []

    def broken() -> bool:
        tried.append("broken")
        raise ZeroDivisionError("DOE^JANE")

    def sound() -> bool:
        tried.append("sound")
        return True

    idle = IdleWork({"broken": broken, "sound": sound}, lambda: house.now)
    with capture_logs() as logs:
        assert [idle.step() for _ in range(3)] == [True, True, True]
    assert tried == ["broken", "sound", "sound", "sound"]
    assert [(entry["event"], entry["work"]) for entry in logs] == [("idle_work_failed", "broken")]
    house.wait(301)
    idle.step()
    assert tried.count("broken") == 2


def test_trouble_of_the_store_is_said_once_for_as_long_as_it_lasts(house: House) -> None:
    away = [True, True, False, True]

    def piece() -> bool:
        if away.pop(0):
            raise Transient(Reason.STORE_UNAVAILABLE)
        return True

    idle = IdleWork({"ahead": piece}, lambda: house.now)
    with capture_logs() as logs:
        assert not idle.step()
        assert not idle.step(), "it rests"
        for expected in (False, True, False):
            house.wait(10)
            assert idle.step() is expected
    assert [entry["event"] for entry in logs] == ["idle_work_postponed"] * 2


def test_a_job_that_comes_waits_for_one_piece_at_most(house: House) -> None:
    events: list[str] = []
    stop = threading.Event()

    def piece() -> bool:
        events.append("idle")
        if events.count("idle") == 3:
            house.ready()
        return True

    def step(job: Job) -> None:
        events.append(job.kind)
        stop.set()

    Worker(
        owner="w",
        queue=house.queue,
        studies=house.studies,
        steps={JobKind.ANALYSE: step},
        policy=POLICY,
        clock=lambda: house.now,
        idle=IdleWork({"ahead": piece}, lambda: house.now),
    ).run(stop)
    assert events == ["idle", "idle", "idle", "analyse"]
