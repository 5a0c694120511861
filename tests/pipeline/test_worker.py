"""The worker loop on a real queue: every end that a step can take ends where a user looks."""

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ichd.domain.errors import LeaseLost, Permanent, Transient
from ichd.domain.job import JobKind, JobState, RetryPolicy
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.pipeline.worker import Worker, WorkerHarmed, WorkerPolicy
from ichd.store.queue import Job, Queue
from tests.store.house import House

POLICY = WorkerPolicy(
    poll_s=0.01, lease_s=15.0, grace_s=5.0, retry=RetryPolicy(first_s=2.0, ceiling_s=60.0, max_attempts=3)
)


def worker(house: House, step: Callable[[Job], None]) -> Worker:
    return Worker(
        owner="w",
        queue=house.queue,
        studies=house.studies,
        steps={JobKind.ANALYSE: step, JobKind.PUBLISH: step},
        policy=POLICY,
        clock=lambda: house.now,
    )


def raising(error: Exception) -> Callable[[Job], None]:
    def step(job: Job) -> None:
        raise error

    return step


def test_a_transient_error_sends_the_job_back_with_a_pause(house: House) -> None:
    house.ready()
    worker(house, raising(Transient(Reason.PEER_UNREACHABLE, "no route"))).work(house.claim("w"))
    (job,) = house.summary().jobs
    assert (job.state, job.reason, job.detail) == (JobState.QUEUED, Reason.PEER_UNREACHABLE, "no route")
    assert timedelta(seconds=1.5) <= job.run_at - house.now <= timedelta(seconds=2)
    assert house.summary().state is StudyState.ANALYSING or house.summary().state is StudyState.READY


def test_the_last_attempt_leaves_a_dead_job_that_says_how_often_it_was_tried(house: House) -> None:
    house.ready()
    for _ in range(POLICY.retry.max_attempts):
        worker(house, raising(Transient(Reason.PEER_BUSY))).work(house.claim("w"))
        house.wait(60)
    (job,) = house.summary().jobs
    assert (job.state, job.reason) == (JobState.DEAD, Reason.ATTEMPTS_EXHAUSTED)
    assert "3 attempts" in job.detail
    assert house.summary().state is StudyState.FAILED


def test_a_permanent_error_kills_the_job_and_fails_the_study(house: House) -> None:
    house.ready()
    assert worker(house, raising(Permanent(Reason.PEER_REFUSED, "0xC000"))).work(house.claim("w"))
    summary = house.summary()
    assert summary.jobs[0].state is JobState.DEAD
    assert (summary.state, summary.reason, summary.detail) == (StudyState.FAILED, Reason.PEER_REFUSED, "0xC000")


def test_a_defect_ends_the_process_and_is_tried_again_before_it_kills_the_job(house: House) -> None:
    house.ready()
    stop = threading.Event()
    for attempt in (1, 2, 3):
        with pytest.raises(WorkerHarmed):
            worker(house, raising(ZeroDivisionError("DOE^JANE"))).run(stop)
        (job,) = house.summary().jobs
        assert (job.attempt, job.reason) == (attempt, Reason.INTERNAL_ERROR)
        assert job.state is (JobState.QUEUED if attempt < 3 else JobState.DEAD)
        house.wait(60)
    summary = house.summary()
    assert (summary.state, summary.reason) == (StudyState.FAILED, Reason.INTERNAL_ERROR)
    assert summary.detail == "ZeroDivisionError"


def test_a_lost_lease_changes_nothing(house: House) -> None:
    house.ready()
    job = house.claim("w")
    house.wait(16)
    house.studies.reap(now=house.now, retry=RetryPolicy())
    house.claim("successor")
    before = house.summary()
    worker(house, raising(LeaseLost("late"))).work(job)
    assert house.summary() == before


def test_run_works_off_the_queue_and_stops_when_told(house: House) -> None:
    for number in range(3):
        house.ready(study=f"1.2.{number}")
    done: list[str] = []
    stop = threading.Event()

    def step(job: Job) -> None:
        done.append(job.study_uid)
        house.studies.begin_analysis(job, now=house.now)
        if len(done) == 3:
            stop.set()

    worker(house, step).run(stop)
    assert sorted(done) == ["1.2.0", "1.2.1", "1.2.2"]


def test_a_bell_wakes_a_worker_that_rests_and_so_does_the_end(house: House) -> None:
    """A minute between two questions to the queue, and nothing waits for one."""
    stop, bell, asked_once = threading.Event(), threading.Event(), threading.Event()
    done: list[str] = []

    class Asked(Queue):
        def is_due(self, **facts: Any) -> bool:
            due = super().is_due(**facts)
            asked_once.set()
            return due

    def ring() -> None:
        asked_once.wait()
        house.ready()
        bell.set()

    def step(job: Job) -> None:
        done.append(job.study_uid)
        stopping.start()

    stopping, ringing = threading.Timer(0.3, stop.set), threading.Thread(target=ring)
    ringing.start()
    started = time.monotonic()
    Worker(
        owner="w",
        queue=Asked(house.engine),
        studies=house.studies,
        steps={JobKind.ANALYSE: step},
        policy=replace(POLICY, poll_s=60.0),
        clock=lambda: house.now,
        bell=bell,
    ).run(stop)
    ringing.join()
    assert len(done) == 1
    assert time.monotonic() - started < 30


def test_the_lease_of_a_long_step_is_kept_alive(house: House) -> None:
    house.ready()
    policy = WorkerPolicy(poll_s=0.01, lease_s=3.0, grace_s=5.0, retry=POLICY.retry)
    started = time.monotonic()
    start = house.now
    stop = threading.Event()
    leases: list[object] = []

    def step(job: Job) -> None:
        for _ in range(8):
            time.sleep(0.5)
            leases.append(house.queue.claim(owner="thief", lease_s=1, now=clock()))
            house.studies.reap(now=clock(), retry=POLICY.retry)
        stop.set()

    def clock() -> datetime:
        return start + timedelta(seconds=time.monotonic() - started)

    Worker(
        owner="w",
        queue=house.queue,
        studies=house.studies,
        steps={JobKind.ANALYSE: step},
        policy=policy,
        clock=clock,
    ).run(stop)
    assert leases == [None] * 8
    (job,) = house.summary().jobs
    assert job.attempt == 1


def test_a_stopping_worker_whose_step_takes_too_long_gives_the_job_back(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import threading, time
        from pathlib import Path
        from ichd.domain.job import JobKind, RetryPolicy
        from ichd.pipeline.clock import utc_now
        from ichd.pipeline.worker import Worker, WorkerHarmed, WorkerPolicy
        from ichd.store.engine import migrate, open_database
        from ichd.store.queue import Queue
        from ichd.store.spool import Spool
        from ichd.store.studies import Studies
        from tests.store.house import house_on
        url = "sqlite:///{tmp_path}/ichd.db"
        migrate(url)
        engine = open_database(url)
        spool = Spool(Path("{tmp_path}/spool"))
        studies = Studies(engine, spool)
        house = house_on(engine, spool)
        house.ready()
        stop = threading.Event()
        def endless(job):
            stop.set()
            time.sleep(60)
        policy = WorkerPolicy(poll_s=0.01, lease_s=15.0, grace_s=0.5, retry=RetryPolicy())
        Worker(owner="w", queue=Queue(engine), studies=studies, steps={{JobKind.ANALYSE: endless}}, policy=policy,
               clock=utc_now).run(stop)
        """
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, timeout=50, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr

    from ichd.store.engine import open_database
    from ichd.store.spool import Spool
    from ichd.store.studies import Studies

    engine = open_database(f"sqlite:///{tmp_path}/ichd.db")
    (summary,) = Studies(engine, Spool(tmp_path / "spool")).summaries()
    engine.dispose()
    assert [job.state for job in summary.jobs] == [JobState.QUEUED]


def test_a_database_that_is_away_is_said_once_and_once_when_it_is_back(house: House) -> None:
    stop = threading.Event()
    asked: list[int] = []

    class Away(Queue):
        def is_due(self, **_: object) -> bool:
            asked.append(1)
            if len(asked) <= 5:
                raise Transient(Reason.STORE_UNAVAILABLE)
            stop.set()
            return False

    with capture_logs() as logs:
        Worker(
            owner="w",
            queue=Away(house.engine),
            studies=house.studies,
            steps={},
            policy=POLICY,
            clock=lambda: house.now,
        ).run(stop)
    assert [entry["event"] for entry in logs] == ["queue_unavailable", "queue_available_again"]
