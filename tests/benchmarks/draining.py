"""Processes that empty a queue side by side, ours or procrastinate's: claim, complete, nothing between.

Each counts what it got from the moment at which all are ready, so that neither imports nor first connections count.
"""

import asyncio
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
from procrastinate.jobs import Job as TheirJob
from procrastinate.jobs import Status
from procrastinate.sql import queries
from sqlalchemy import Engine, delete, insert, text

from ichd.domain.errors import Transient
from ichd.domain.job import JobKind, JobState
from ichd.domain.study import StudyState
from ichd.store.engine import open_database
from ichd.store.queue import Job, Queue
from ichd.store.tables import JobRow, StudyRow
from ichd.store.transaction import writing

#: Job ids, begin and end by the machine's monotonic clock.
Share = tuple[list[int], float, float]
_PATIENCE_S = 300


@dataclass(frozen=True, kw_only=True)
class Drained:
    """How it went."""

    jobs: int
    per_s: float
    #: Jobs that were handed out more than once.
    twice: int
    #: Jobs that nobody got.
    missed: int


def drained_by(processes: int, drain: Callable[[str, Barrier], Share], url: str, jobs: int) -> Drained:
    """Have `processes` of them empty the queue behind `url`, which holds `jobs`."""
    # What they need is imported by the script that starts them, and not by each on the cores that are measured. No
    # connection is open and no thread runs at this moment.
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        barrier: Any = manager.Barrier(processes)
        with context.Pool(processes) as pool:
            shares = pool.starmap_async(drain, [(url, barrier)] * processes, chunksize=1).get(_PATIENCE_S)
    claimed = Counter(job for ids, _, _ in shares for job in ids)
    spent_s = max(end for _, _, end in shares) - min(begin for _, begin, _ in shares)
    return Drained(
        jobs=jobs,
        per_s=jobs / spent_s,
        twice=sum(times - 1 for times in claimed.values()),
        missed=jobs - len(claimed),
    )


def ours(url: str, ready: Barrier) -> Share:
    """Through `Queue`, with nothing that commits beside a job's end."""
    return _ours(url, ready, lambda _, queue, job: queue.complete(None, job, now=datetime.now(UTC)))


def ours_in_session(url: str, ready: Barrier) -> Share:
    """Through `Queue`, in a transaction that has room for what came of the job."""
    return _ours(url, ready, _complete_in_session)


def _complete_in_session(engine: Engine, queue: Queue, job: Job) -> None:
    with writing(engine) as session:
        queue.complete(session, job, now=datetime.now(UTC))


def _ours(url: str, ready: Barrier, complete: Callable[[Engine, Queue, Job], None]) -> Share:
    engine = open_database(url)
    queue, ids = Queue(engine), []
    queue.is_due(now=datetime.now(UTC), kinds=(JobKind.ANALYSE,))
    ready.wait(_PATIENCE_S)
    begin = time.monotonic()
    while True:
        # A queue that turns a worker away has not lost its job: it asks again, as a worker does.
        with suppress(Transient):
            job = queue.claim(owner=f"drain-{ready}", lease_s=60, now=datetime.now(UTC), kinds=(JobKind.ANALYSE,))
            if job is None:
                break
            complete(engine, queue, job)
            ids.append(job.id)
    end = time.monotonic()
    engine.dispose()
    return ids, begin, end


def theirs_sync(url: str, ready: Barrier) -> Share:
    """Procrastinate's own queries through its blocking connector."""
    connector, ids = SyncPsycopgConnector(conninfo=url, min_size=1, max_size=1), []
    connector.open()
    worker = connector.execute_query_one(query=queries["register_worker"])["worker_id"]
    ready.wait(_PATIENCE_S)
    begin = time.monotonic()
    while True:
        row = connector.execute_query_one(query=queries["fetch_job"], queues=None, worker_id=worker)
        if row["id"] is None:
            break
        done = {"job_id": row["id"], "status": Status.SUCCEEDED.value, "delete_job": False}
        connector.execute_query(query=queries["finish_job"], **done)
        ids.append(int(row["id"]))
    end = time.monotonic()
    connector.close()
    return ids, begin, end


def theirs_async(url: str, ready: Barrier) -> Share:
    """Procrastinate as its worker does it, through its job manager."""
    return asyncio.run(_theirs_async(url, ready))


async def _theirs_async(url: str, ready: Barrier) -> Share:
    app, ids = App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=1)), []
    async with app.open_async():
        jobs = app.job_manager
        worker = await jobs.register_worker()
        await asyncio.to_thread(ready.wait, _PATIENCE_S)
        begin = time.monotonic()
        while (job := await jobs.fetch_job(queues=None, worker_id=worker)) is not None:
            await jobs.finish_job(job, Status.SUCCEEDED, delete_job=False)
            ids.append(job.id or 0)
        end = time.monotonic()
    return ids, begin, end


def fill_ours(url: str, jobs: int) -> None:
    """An empty queue, and then as many studies with a reading each."""
    engine = open_database(url)
    now = datetime.now(UTC)
    study = {
        "accession_number": "",
        "study_datetime": "",
        "state": StudyState.READY,
        "received_at": now,
        "last_instance_at": now,
    }
    job = {"kind": JobKind.ANALYSE, "revision": 1, "state": JobState.QUEUED}
    times = {"run_at": now, "order_at": now, "owed_since": now, "created_at": now}
    numbers = range(1, jobs + 1)
    with writing(engine) as session:
        session.execute(delete(JobRow))
        session.execute(delete(StudyRow))
        session.execute(insert(StudyRow), [study | {"id": n, "study_instance_uid": f"1.2.3.{n}"} for n in numbers])
        session.execute(insert(JobRow), [job | times | {"study_id": n} for n in numbers])
    _analyse(url)
    engine.dispose()


def fill_theirs(url: str, jobs: int) -> None:
    """The same for procrastinate, whose schema is made if it is missing."""
    with psycopg.connect(url, autocommit=True) as connection:
        known = connection.execute("SELECT to_regclass('procrastinate_jobs') IS NOT NULL").fetchone()
        if known == (True,):
            connection.execute("TRUNCATE procrastinate_jobs, procrastinate_events, procrastinate_workers CASCADE")
    app = App(connector=SyncPsycopgConnector(conninfo=url))
    with app.open():
        if known != (True,):
            app.schema_manager.apply_schema()
        job = TheirJob(id=None, queue="read", lock=None, queueing_lock=None, task_name="read", task_kwargs={})
        for first in range(0, jobs, 1000):
            app.job_manager.batch_defer_jobs([job] * min(1000, jobs - first))
    _analyse(url)


def _analyse(url: str) -> None:
    """Neither has to work with the statistics of an empty table."""
    engine = open_database(url)
    postgresql = engine.dialect.name == "postgresql"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE" if postgresql else "ANALYZE"))
    engine.dispose()
