"""What a worker does that goes past its bounds: time, memory, a lease that it lost without dying."""

import mmap
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ichd.domain.ending import Ending
from ichd.domain.errors import LeaseLost, Transient
from ichd.domain.job import DEATHS_ALLOWED, JobKind, JobState, RetryPolicy
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.pipeline.couriers import Couriers
from ichd.pipeline.vigil import Vigil, resident_mb
from ichd.pipeline.worker import Step, Worker, WorkerPolicy
from ichd.publish.stow import Stow
from ichd.publish.web import WebPeer
from ichd.store.queue import Job
from ichd.store.spool import Spool
from ichd.store.studies import Studies
from tests.app.test_supervise import wait_until
from tests.pipeline.bounded import DELIVERED, READ
from tests.publish.parcels import SR, Outbox
from tests.report.findings import CREATED_AT
from tests.store.house import LEASE_S, House, read_record

POLICY = WorkerPolicy(poll_s=0.01, lease_s=15.0, grace_s=5.0, retry=RetryPolicy(first_s=2.0, ceiling_s=60.0))


def worker(
    house: House,
    step: Step,
    *,
    policy: WorkerPolicy = POLICY,
    vigil: Vigil | None = None,
    studies: Studies | None = None,
    destination: str | None = None,
) -> Worker:
    return Worker(
        owner=f"w-{destination}",
        queue=house.queue,
        studies=studies or house.studies,
        steps={JobKind.PUBLISH if destination else JobKind.ANALYSE: step},
        policy=policy,
        clock=lambda: house.now,
        vigil=vigil or Vigil(house.queue, lambda: house.now),
        destination=destination,
    )


@pytest.mark.parametrize(
    ("mode", "ending", "reason"),
    [
        ("time", Ending.RECYCLED, Reason.TIME_LIMIT_EXCEEDED),
        ("memory", Ending.RECYCLED, Reason.MEMORY_EXHAUSTED),
        ("grace", Ending.DONE, None),
    ],
)
def test_a_process_that_ends_in_the_middle_of_a_reading_leaves_nothing_to_a_lease(
    house: House, mode: str, ending: Ending, reason: Reason | None
) -> None:
    """The reading says why; the delivery beside it is given back, and its attempt is not counted."""
    root = Path(__file__).resolve().parents[2]
    database = house.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.pipeline.bounded", database, str(house.spool.root), mode]
    done = subprocess.run(command, cwd=root, timeout=250, capture_output=True, check=False)
    assert done.returncode == ending, done.stderr
    (reading,) = house.summary(READ).jobs
    assert (reading.state, reading.reason) == (JobState.QUEUED, reason)
    assert reading.attempt == (0 if mode == "grace" else 1)
    delivery = house.summary(DELIVERED).jobs[-1]
    assert (delivery.state, delivery.reason, delivery.attempt) == (JobState.QUEUED, None, 0)


@pytest.mark.parametrize("reason", [Reason.TIME_LIMIT_EXCEEDED, Reason.MEMORY_EXHAUSTED])
def test_a_reading_that_goes_past_its_bounds_again_and_again_is_dead(house: House, reason: Reason) -> None:
    house.ready()
    lane = worker(house, lambda _: None)
    for _ in range(DEATHS_ALLOWED[JobKind.ANALYSE]):
        assert house.summary().state is not StudyState.FAILED
        job = house.claim("w-None")
        house.studies.begin_analysis(job, now=house.now)
        lane._cut_short(job, reason, "much")
        house.wait(60)
    summary = house.summary()
    assert (summary.state, summary.reason, summary.detail) == (StudyState.FAILED, reason, "much")


@contextmanager
def dripping() -> Iterator[tuple[str, threading.Event]]:
    """A web server that answers a byte at a time, for ever: each comes well within every timeout of a client.

    Its address, and whether it has begun.
    """
    stop, begun = threading.Event(), threading.Event()

    def answer(listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n\r\n")
            begun.set()
            while not stop.wait(0.02):
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=answer, args=(listening,), daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/dicom-web", begun
        finally:
            stop.set()
            listening.shutdown(socket.SHUT_RDWR)
            serving.join()


def test_a_server_that_drips_does_not_hold_its_courier_for_ever(house: House, tmp_path: Path) -> None:
    house.ready()
    house.analyse("pacs")
    house.ready(study="1.2.9")
    stop, read = threading.Event(), threading.Event()
    vigil = Vigil(house.queue, lambda: house.now)
    outbox = Outbox(folder=tmp_path)
    outbox.object(SR)

    with dripping() as (url, begun):

        def deliver(job: Job) -> None:
            house.deliveries.begin(job, now=house.now)
            Stow(peer=WebPeer(name="pacs", url=url)).deliver(outbox.parcel(SR), now=CREATED_AT)

        def reading(job: Job) -> None:
            house.studies.begin_analysis(job, now=house.now)
            wait_until(lambda: vigil.recycling, 60)
            house.studies.finish_analysis(job, record=read_record(), destinations=(), now=house.now)
            read.set()

        short = replace(POLICY, time_limit_s=4.0)
        couriers = Couriers(
            {"pacs": worker(house, deliver, policy=short, vigil=vigil, destination="pacs")},
            {"pacs": threading.Event()},
            stop,
        )
        couriers.start()
        assert begun.wait(60)
        worker(house, reading, vigil=vigil).run(stop)
        assert read.is_set(), "the reading in hand was not finished"
        assert not stop.is_set()
        couriers.join()

    assert vigil.exit_code is Ending.RECYCLED
    delivery = house.summary().jobs[-1]
    assert (delivery.state, delivery.reason) == (JobState.QUEUED, Reason.TIME_LIMIT_EXCEEDED)
    assert delivery.run_at > house.now, "it is tried later, not at once"


def test_a_process_over_its_ceiling_is_replaced_between_two_jobs(house: House) -> None:
    for number in range(2):
        house.ready(study=f"1.2.{number}")
    vigil = Vigil(house.queue, lambda: house.now, memory_mb=1)
    done: list[str] = []

    def step(job: Job) -> None:
        house.studies.begin_analysis(job, now=house.now)
        done.append(job.study_uid)

    with capture_logs() as logs:
        worker(house, step, vigil=vigil).run(threading.Event())
    assert len(done) == 1
    assert vigil.exit_code is Ending.RECYCLED
    (said,) = [entry for entry in logs if entry["event"] == "worker_recycled"]
    assert (said["cause"], said["ceiling_mb"], said["exit_code"]) == ("memory", 1, 75)
    assert said["resident_mb"] > 1


def test_who_is_told_to_stop_is_not_to_be_replaced(house: House) -> None:
    vigil = Vigil(house.queue, lambda: house.now, memory_mb=1)
    vigil.weigh()
    vigil.dismissed = True
    assert vigil.exit_code is Ending.DONE


def test_resident_memory_is_what_the_process_holds() -> None:
    before = resident_mb()
    # Pages of its own: what earlier tests gave back to the heap would be taken again, and the process not grow by it.
    with mmap.mmap(-1, 200 << 20) as hoard:
        hoard.write(b"x" * (200 << 20))
        after = resident_mb()
    assert before is not None
    assert after is not None
    assert 150 < after - before < 400


def test_a_worker_that_only_was_cut_off_takes_its_death_back(house: House) -> None:
    """Its lease ran out while it worked; it hears so from its heartbeat, or when it wants to record what it made."""
    house.ready()
    other = house.claim("other")
    house.studies.begin_analysis(other, now=house.now)
    house.wait(LEASE_S + 1)
    house.studies.reap(now=house.now, retry=RetryPolicy())

    def step(job: Job) -> None:
        house.studies.begin_analysis(job, now=house.now)
        house.wait(LEASE_S + 1)
        house.studies.reap(now=house.now, retry=RetryPolicy())
        assert house.summary().state is StudyState.FAILED
        raise LeaseLost("too late")

    worker(house, step).work(house.claim("w-None"))
    assert house.summary().state is StudyState.READY
    house.claim("successor")


def test_a_worker_that_nobody_heard_says_so_once_the_database_is_back(house: House) -> None:
    """Cut off for the end of its step and beyond: there is no lease left to lose when it is heard again."""
    house.ready()
    stop = threading.Event()

    class Partition(Studies):
        cut = True

        def failed(self, *_: object, **__: object) -> None:
            raise Transient(Reason.STORE_UNAVAILABLE)

        def exonerate(self, job: Job, *, now: object) -> bool:
            if self.cut:
                self.cut = False
                raise Transient(Reason.STORE_UNAVAILABLE)
            stop.set()
            return house.studies.exonerate(job, now=house.now)

    def step(job: Job) -> None:
        house.studies.begin_analysis(job, now=house.now)
        raise Transient(Reason.STORE_UNAVAILABLE)

    lane = worker(house, step, studies=Partition(house.engine, Spool(house.spool.root)))
    lane.work(house.claim("w-None"))
    house.wait(LEASE_S + 1)
    house.studies.reap(now=house.now, retry=RetryPolicy())
    assert house.summary().jobs[0].reason is Reason.WORKER_DIED
    house.now -= house.now - house.summary().jobs[0].run_at
    lane.run(stop)
    assert house.summary().jobs[0].reason is None


def test_a_lane_that_shows_no_sign_of_life_makes_the_process_unwell(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    vigil = Vigil(house.queue, lambda: house.now)
    for owner in ("reader", "courier"):
        vigil.sign(owner)
    assert vigil.is_well()
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    vigil.sign("reader")
    assert not vigil.is_well()
    # A lane that is past its time limit is known to hang: the process drains, and must not be killed for it.
    vigil.lose("courier")
    assert vigil.is_well()
