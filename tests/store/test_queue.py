"""The queue: no job twice at once, no job lost, no late worker heard."""

import multiprocessing
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import psycopg
import pytest
from sqlalchemy import Engine, event, insert, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ichd.domain.errors import LeaseLost
from ichd.domain.finding import Triage
from ichd.domain.job import JobKind, JobState, RetryPolicy
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.store.engine import open_database
from ichd.store.queue import Job, Queue
from ichd.store.tables import JobRow, StudyRow
from ichd.store.transaction import writing
from tests.store.house import LEASE_S, NOON, STUDY, House


def fill(engine: Engine, count: int, *, run_at: datetime = NOON, first: int = 1) -> None:
    """`count` studies, each with a queued reading."""
    studies = [
        {
            "id": number,
            "study_instance_uid": f"1.2.3.{number}",
            "accession_number": "",
            "study_datetime": "",
            "state": StudyState.READY,
            "received_at": NOON + timedelta(seconds=number),
            "last_instance_at": NOON,
        }
        for number in range(first, first + count)
    ]
    jobs = [
        {
            "kind": JobKind.ANALYSE,
            "study_id": study["id"],
            "revision": 1,
            "state": JobState.QUEUED,
            "run_at": run_at,
            "order_at": run_at,
            "owed_since": NOON,
            "created_at": NOON,
        }
        for study in studies
    ]
    with writing(engine) as session:
        session.execute(insert(StudyRow), studies)
        session.execute(insert(JobRow), jobs)


def drain(queue: Queue, owner: str) -> list[int]:
    claimed = []
    while (job := queue.claim(owner=owner, lease_s=60, now=NOON)) is not None:
        claimed.append(job.id)
    return claimed


def drain_in_process(url: str, owner: str) -> list[int]:
    engine = open_database(url)
    claimed = drain(Queue(engine), owner)
    engine.dispose()
    return claimed


def listen(engine: Engine) -> list[str]:
    """What an engine's driver is told from now on."""
    told: list[str] = []

    class Noting(psycopg.Cursor[Any]):
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Self:
            told.append(str(query))
            return super().execute(query, *args, **kwargs)

    if engine.dialect.name == "sqlite":
        event.listen(engine, "before_cursor_execute", lambda *a: told.append(str(a[2])))
    else:
        event.listen(engine, "checkout", lambda connection, *_: setattr(connection, "cursor_factory", Noting))
    return told


def test_an_empty_queue_gives_nothing(house: House) -> None:
    assert house.try_claim() is None


def test_a_claim_names_everything_that_a_worker_needs(house: House) -> None:
    house.ready()
    job = house.claim("worker-a")
    assert job == Job(
        id=job.id,
        kind=JobKind.ANALYSE,
        study_id=job.study_id,
        study_uid=STUDY,
        revision=1,
        destination=None,
        attempt=1,
        owner="worker-a",
        lease_until=house.now + timedelta(seconds=LEASE_S),
        owed_since=house.now,
    )
    assert house.try_claim("worker-b") is None


def test_a_claim_is_one_statement(engine: Engine) -> None:
    fill(engine, 1)
    statements = listen(engine)
    Queue(engine).claim(owner="a", lease_s=1, now=NOON)
    (statement,) = [s for s in statements if not s.startswith("BEGIN")]
    assert statement.startswith("UPDATE job")
    assert "RETURNING" in statement
    assert ("SKIP LOCKED" in statement) is (engine.dialect.name == "postgresql")


def test_threads_never_claim_a_job_twice(engine: Engine) -> None:
    fill(engine, 120)
    queue = Queue(engine)
    with ThreadPoolExecutor(4) as pool:
        claimed = Counter(i for ids in pool.map(lambda n: drain(queue, f"thread-{n}"), range(4)) for i in ids)
    assert len(claimed) == 120
    assert set(claimed.values()) == {1}


def test_processes_never_claim_a_job_twice(engine: Engine, migrated_url: str) -> None:
    fill(engine, 120)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        claims = pool.starmap(drain_in_process, [(migrated_url, "process-a"), (migrated_url, "process-b")])
    claimed = Counter(i for ids in claims for i in ids)
    assert len(claimed) == 120
    assert set(claimed.values()) == {1}


def test_a_job_is_not_due_before_its_time(engine: Engine) -> None:
    fill(engine, 1, run_at=NOON + timedelta(seconds=1))
    queue = Queue(engine)
    assert queue.claim(owner="a", lease_s=1, now=NOON) is None
    assert queue.claim(owner="a", lease_s=1, now=NOON + timedelta(seconds=1)) is not None


def test_deliveries_go_before_readings_and_older_before_newer(house: House) -> None:
    house.ready(study="1.2.840.7")
    house.ready(study="1.2.840.8")
    house.analyse("pacs")
    house.ready(study="1.2.840.9")
    jobs = [house.claim() for _ in range(3)]
    assert [(j.kind, j.study_uid) for j in jobs] == [
        (JobKind.PUBLISH, "1.2.840.7"),
        (JobKind.ANALYSE, "1.2.840.8"),
        (JobKind.ANALYSE, "1.2.840.9"),
    ]


def test_kinds_narrow_the_claim(house: House) -> None:
    house.ready()
    assert house.try_claim(kinds=(JobKind.PUBLISH,)) is None
    assert house.try_claim(kinds=(JobKind.ANALYSE,)) is not None


def test_extending_moves_the_end_of_the_lease(house: House) -> None:
    house.ready()
    job = house.claim()
    house.wait(LEASE_S - 1)
    job = house.queue.extend(job, lease_s=LEASE_S, now=house.now)
    house.wait(LEASE_S - 1)
    assert house.studies.reap(now=house.now, retry=RetryPolicy()) == 0
    house.wait(2)
    assert house.studies.reap(now=house.now, retry=RetryPolicy()) == 1


def _extend(house: House, job: Job) -> None:
    house.queue.extend(job, lease_s=1, now=house.now)


def _release(house: House, job: Job) -> None:
    house.queue.release(job, now=house.now)


def _fail(house: House, job: Job) -> None:
    house.studies.failed(job, Reason.INTERNAL_ERROR, "", retry_at=None, now=house.now)


def _begin(house: House, job: Job) -> None:
    house.studies.begin_analysis(job, now=house.now)


@pytest.mark.parametrize("late", [_extend, _release, _fail, _begin])
def test_a_late_worker_is_not_heard(house: House, late: object) -> None:
    assert callable(late)
    house.ready()
    job = house.claim("worker-a")
    house.wait(LEASE_S + 1)
    house.studies.reap(now=house.now, retry=RetryPolicy())
    with pytest.raises(LeaseLost):
        late(house, job)
    successor = house.claim("worker-b")
    assert successor.attempt == 2
    with pytest.raises(LeaseLost):
        late(house, job)
    house.studies.begin_analysis(successor, now=house.now)


def test_the_same_worker_is_late_for_its_own_earlier_attempt(house: House) -> None:
    house.ready()
    first = house.claim("worker-a")
    house.wait(LEASE_S + 1)
    house.studies.reap(now=house.now, retry=RetryPolicy())
    second = house.claim("worker-a")
    with pytest.raises(LeaseLost):
        house.queue.extend(first, lease_s=1, now=house.now)
    house.queue.extend(second, lease_s=1, now=house.now)


def test_released_work_is_due_at_once_and_no_attempt_is_counted(house: House) -> None:
    house.ready()
    house.queue.release(house.claim("worker-a"), now=house.now)
    job = house.claim("worker-b")
    assert job.attempt == 1


def test_a_job_with_which_nothing_else_commits_is_completed_in_one_statement(house: House) -> None:
    house.ready()
    job = house.claim()
    statements = listen(house.engine)
    house.queue.complete(None, job, now=house.now)
    (statement,) = [s for s in statements if not s.startswith("BEGIN")]
    assert statement.startswith("UPDATE job")
    (shown,) = house.summary().jobs
    assert (shown.state, shown.finished_at) == (JobState.DONE, house.now)
    with pytest.raises(LeaseLost):
        house.queue.complete(None, job, now=house.now)


def test_completing_twice_is_refused_and_rolls_back(house: House) -> None:
    house.ready()
    job = house.claim()
    with writing(house.engine) as session:
        house.queue.complete(session, job, now=house.now)

    def deliver_and_complete() -> None:
        with writing(house.engine) as session:
            _enqueue(house, session, job, JobKind.PUBLISH, "pacs")
            house.queue.complete(session, job, now=house.now)

    with pytest.raises(LeaseLost):
        deliver_and_complete()
    assert house.try_claim() is None


@pytest.mark.parametrize(("kind", "destination"), [(JobKind.ANALYSE, None), (JobKind.PUBLISH, "pacs")])
def test_a_revision_is_read_once_and_delivered_once(house: House, kind: JobKind, destination: str | None) -> None:
    house.ready()
    job = house.claim()

    def enqueue_twice() -> None:
        with writing(house.engine) as session:
            _enqueue(house, session, job, kind, destination)
            _enqueue(house, session, job, kind, destination)

    with pytest.raises(IntegrityError):
        enqueue_twice()


def _enqueue(house: House, session: Session, job: Job, kind: JobKind, destination: str | None) -> None:
    house.queue.enqueue(
        session, kind=kind, study_id=job.study_id, revision=1, triage=None, destination=destination, now=house.now
    )


def test_a_retry_waits_and_counts(house: House) -> None:
    house.ready()
    job = house.claim()
    house.studies.failed(job, Reason.PEER_BUSY, "try later", retry_at=house.now + timedelta(seconds=4), now=house.now)
    assert house.try_claim() is None
    (shown,) = house.summary().jobs
    assert (shown.state, shown.reason, shown.detail) == (JobState.QUEUED, Reason.PEER_BUSY, "try later")
    house.wait(4)
    assert house.claim().attempt == 2


def test_reaping_is_shared_by_many_workers(engine: Engine, house: House) -> None:
    fill(engine, 30)
    drain(house.queue, "worker-a")
    with writing(engine) as session:
        session.execute(text("UPDATE job SET begun = true"))
    later = NOON + timedelta(seconds=61)
    with ThreadPoolExecutor(4) as pool:
        reaped = list(pool.map(lambda _: house.studies.reap(now=later, retry=RetryPolicy()), range(4)))
    assert sum(reaped) == 30
    with engine.connect() as connection:
        assert connection.execute(text("SELECT DISTINCT state, deaths FROM job")).all() == [("queued", 1)]


@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)  # PostgreSQL plans by statistics
@pytest.mark.parametrize("question", ["reading", "delivery", "is_due", "expired"])
def test_the_questions_that_workers_ask_all_day_use_an_index(engine: Engine, question: str) -> None:
    asked: list[tuple[str, object]] = []
    event.listen(engine, "before_cursor_execute", lambda *a: asked.append((str(a[2]), a[3])))
    queue = Queue(engine)
    now = datetime.now(UTC)
    match question:
        case "reading":
            queue.claim(owner="a", lease_s=1, now=now, kinds=(JobKind.ANALYSE,))
        case "delivery":
            queue.claim(owner="a", lease_s=1, now=now, kinds=(JobKind.PUBLISH,), destination="pacs")
        case "is_due":
            queue.is_due(now=now, kinds=(JobKind.PUBLISH,), destination="pacs")
        case "expired":
            queue.expired(now=now)
    statement, parameters = asked[-1]
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()  # type: ignore[arg-type]
    steps = [str(row[-1]) for row in plan]
    # Of destinations there are a handful, and they are looked through once.
    slow = [step for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step]
    # The index of readings holds what waits and nothing else, in the order in which it is taken.
    quick = {"SCAN destination", "SCAN job_1 USING INDEX ix_job_readings"}
    assert [step for step in slow if step not in quick] == [], steps
    assert not [step for step in steps if step.startswith("CORRELATED") and "destination" in step], steps


@pytest.mark.parametrize("kind", list(JobKind))
def test_what_is_urgent_overtakes_and_nothing_waits_for_ever(house: House, kind: JobKind) -> None:
    house.ready()
    job = house.claim()
    destination = "pacs" if kind is JobKind.PUBLISH else None

    def add(revision: int, triage: Triage | None) -> None:
        with writing(house.engine) as session:
            house.queue.enqueue(
                session,
                kind=kind,
                study_id=job.study_id,
                revision=revision,
                triage=triage,
                destination=destination and f"{destination}{revision}",
                now=house.now,
            )

    add(2, Triage.ROUTINE)
    house.wait(60)
    add(3, None)
    add(4, Triage.INDETERMINATE)
    house.wait(60)
    add(5, Triage.URGENT)
    house.wait(4 * 3600)
    add(6, Triage.URGENT)
    claimed = [house.claim(kinds=(kind,)).revision for _ in range(5)]
    assert claimed == [5, 4, 2, 3, 6], "the last one is urgent, and came four hours after the routine ones"
