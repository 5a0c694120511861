"""The queue and the list at scale, on PostgreSQL as Debian sets it up (durable) and on SQLite.

Throughput: 20,000 readings (1,000 with --quick) are claimed and completed by 1, 2, 4 and 8 processes (8 with --quick),
which do nothing between; `duplicates` counts what was handed out twice, in all runs together. Procrastinate
empties as long a queue on the same server with its own fetch and finish, by its blocking connector and by its job
manager: the faster of the two is compared, in alternation with ours. Each job of both is completed by a commit of its
own that waits for the disk. Procrastinate's fetch waits too; our claim does not, here as in the daemon, since nothing
is lost with a lease (`ichd.store.durability`). `jobs_per_s_8_in_session` completes as the worker does, where a finding
commits with it: BEGIN and COMMIT are two more ways there and back.

A bell: time from the commit of a job to its claim by an idle worker, which polls once in ten seconds.

Size: beside 1,000,000 finished studies (100,000 with --quick), medians of a claim and of the list of 100 lines, whole
and by state; the keys without the name of a database hold the slower one's.
"""

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psycopg
from sqlalchemy import Engine, delete, make_url

from ichd.domain.job import JobKind
from ichd.domain.study import StudyState
from ichd.store.bell import JobBell
from ichd.store.engine import migrate, open_database
from ichd.store.listing import study_summaries
from ichd.store.queue import Queue
from ichd.store.tables import JobRow, StudyRow
from ichd.store.transaction import writing
from ichd.telemetry import configure_logging
from tests.benchmarks.draining import (
    Drained,
    drained_by,
    fill_ours,
    fill_theirs,
    ours,
    ours_in_session,
    theirs_async,
    theirs_sync,
)
from tests.benchmarks.figures import Figure, arguments, print_figures
from tests.benchmarks.finished import fill
from tests.peers.postgresql import PostgresqlAbsent, running_postgresql

FIXED = ("jobs_per_s_8", "ratio_procrastinate", "claim_ms_1m", "list_ms_1m", "duplicates")


def now() -> datetime:
    """The wall's clock."""
    return datetime.now(UTC)


def main() -> None:
    options = arguments(__doc__ or "")
    configure_logging("error", "console")
    # Not the folder of whoever runs this: the server is not root.
    with tempfile.TemporaryDirectory(prefix="ichd-scale-") as scratch:
        Path(scratch).chmod(0o755)
        try:
            with running_postgresql(Path(scratch) / "server", durable=True) as server:
                figures = measure(server, f"sqlite:///{scratch}/ichd.db", quick=options.quick)
                why_null: dict[str, str] = {}
        except PostgresqlAbsent as absent:
            figures = dict.fromkeys(FIXED)
            why_null = dict.fromkeys(FIXED, str(absent))
    print_figures(figures, why_null, as_json=options.json)


def measure(server: str, sqlite: str, *, quick: bool) -> dict[str, Figure]:
    """All figures, on a running server and a new file."""
    processes, jobs, studies = ((8,), 1_000, 100_000) if quick else ((1, 2, 4, 8), 20_000, 1_000_000)
    with psycopg.connect(server, autocommit=True) as connection:
        for name in ("ichd", "procrastinate", "archive"):
            connection.execute(f"CREATE DATABASE {name}")
    postgresql = database(server, "ichd")
    for url in (postgresql, database(server, "archive"), sqlite):
        migrate(url)
    figures = measure_throughput(postgresql, sqlite, database(server, "procrastinate"), processes, jobs)
    figures |= measure_bell(postgresql, 50 if quick else 500)
    figures["finished_studies"] = studies
    for name, url in (("postgresql", database(server, "archive")), ("sqlite", sqlite)):
        figures |= measure_size(name, url, studies, 50 if quick else 300)
    figures["claim_ms_1m"] = max(worst(figures, "claim_ms_1m_"))
    figures["list_ms_1m"] = max(worst(figures, "list_ms_1m_"))
    return figures


def measure_throughput(
    postgresql: str, sqlite: str, theirs: str, processes: tuple[int, ...], jobs: int
) -> dict[str, Figure]:
    """Jobs a second and ratios, by count of processes."""
    runs: list[Drained] = []

    def run_ours(url: str, count: int) -> float:
        fill_ours(url, jobs)
        runs.append(drained_by(count, ours, url, jobs))
        return runs[-1].per_s

    figures: dict[str, Figure] = {"jobs": jobs}
    for count in processes:
        fill_theirs(theirs, jobs)
        blocking = drained_by(count, theirs_sync, theirs, jobs).per_s
        figures[f"jobs_per_s_{count}"] = round(run_ours(postgresql, count), 1)
        fill_theirs(theirs, jobs)
        managed = drained_by(count, theirs_async, theirs, jobs).per_s
        figures[f"procrastinate_jobs_per_s_{count}"] = round(max(blocking, managed), 1)
        figures[f"sqlite_jobs_per_s_{count}"] = round(run_ours(sqlite, count), 1)
    most = max(processes)
    fill_ours(postgresql, jobs)
    runs.append(drained_by(most, ours_in_session, postgresql, jobs))
    figures[f"jobs_per_s_{most}_in_session"] = round(runs[-1].per_s, 1)
    figures["ratio_procrastinate"] = round(
        float(figures[f"jobs_per_s_{most}"] or 0) / float(figures[f"procrastinate_jobs_per_s_{most}"] or 1), 2
    )
    figures["duplicates"] = sum(run.twice for run in runs)
    figures["missed"] = sum(run.missed for run in runs)
    return figures


def measure_bell(url: str, rings: int) -> dict[str, Figure]:
    """From the commit of a job to its claim."""
    fill_ours(url, 1)
    engine = open_database(url)
    queue, heard, stop = Queue(engine), threading.Event(), threading.Event()
    claimed: list[float] = []
    taken = threading.Event()

    def work() -> None:
        while not stop.is_set():
            job = queue.claim(owner="idle", lease_s=60, now=now(), kinds=(JobKind.ANALYSE,))
            if job is not None:
                claimed.append(time.monotonic())
                with writing(engine) as session:
                    queue.complete(session, job, now=now())
                taken.set()
                continue
            heard.wait(10)
            heard.clear()

    bell = JobBell(engine, ring=lambda _: heard.set(), ring_all=heard.set)
    worker = threading.Thread(target=work, daemon=True)
    bell.start()
    worker.start()
    committed: list[float] = []
    for revision in range(2, rings + 2):
        taken.wait(30)
        taken.clear()
        time.sleep(0.01)
        with writing(engine) as session:
            study_id = 1
            queue.enqueue(session, kind=JobKind.ANALYSE, study_id=study_id, revision=revision, triage=None, now=now())
        committed.append(time.monotonic())
    taken.wait(30)
    stop.set()
    heard.set()
    worker.join()
    bell.stop()
    engine.dispose()
    # The claim may be there before the commit has answered us.
    waits_ms = sorted(max(0.0, at - since) * 1e3 for since, at in zip(committed, claimed[1:], strict=True))
    return {
        "wake_ms_median": round(statistics.median(waits_ms), 2),
        "wake_ms_p99": round(waits_ms[int(0.99 * (len(waits_ms) - 1))], 2),
    }


def measure_size(name: str, url: str, studies: int, calls: int) -> dict[str, Figure]:
    """Claims and lists beside `studies` finished ones."""
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(delete(JobRow))
        connection.execute(delete(StudyRow))
    fill(engine, studies)
    queue = Queue(engine)
    with writing(engine) as session:
        for number in range(1, calls + 11):
            queue.enqueue(session, kind=JobKind.ANALYSE, study_id=number, revision=2, triage=None, now=now())

    def take() -> None:
        assert queue.claim(owner="scale", lease_s=60, now=now(), kinds=(JobKind.ANALYSE,)) is not None

    def look() -> None:
        assert not queue.is_due(now=now(), kinds=(JobKind.PUBLISH,), destination="pacs")

    states = (None, StudyState.REPORTED, StudyState.FAILED, StudyState.RECEIVING)
    figures: dict[str, Figure] = {
        f"claim_ms_1m_{name}": median_ms(take, calls),
        f"look_ms_1m_{name}": median_ms(look, calls),
    }
    for state in states:
        words = "" if state is None else f"_{state}"
        figures[f"list_ms_1m_{name}{words}"] = median_ms(lambda s=state: listed(engine, s), calls // 5)  # type: ignore[misc]
    engine.dispose()
    return figures


def listed(engine: Engine, state: StudyState | None) -> None:
    """The list as the page asks for it."""
    study_summaries(engine, limit=100, state=state)


def median_ms(act: Callable[[], None], calls: int) -> float:
    """Of so many calls, after ten that are not counted."""
    spent = []
    for call in range(calls + 10):
        begun = time.perf_counter()
        act()
        if call >= 10:
            spent.append((time.perf_counter() - begun) * 1e3)
    return round(statistics.median(spent), 3)


def worst(figures: dict[str, Figure], prefix: str) -> list[float]:
    """The figures whose names begin so."""
    return [value for name, value in figures.items() if name.startswith(prefix) and value is not None]


def database(server: str, name: str) -> str:
    """URL of another database of the same server."""
    return make_url(server).set(database=name).render_as_string(hide_password=False)


if __name__ == "__main__":
    main()
