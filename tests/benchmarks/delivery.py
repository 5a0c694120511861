"""Reports on their way out: what one costs, how many go a second, and what a dead neighbour costs the others.

A study of 36 slices of 512x512 with two bleeds, its SR, KO and SC: built and sent to dcmtk's storescp by the courier of
a worker, on SQLite. CPU is that of this process, all threads; the heat map on the page was made before, as a worker
makes it: its cost is that of seeing, and in docs/heat-maps.md.

1,000 (60 with --quick) queued, rendered deliveries of as many studies, by one lane, against dcmtk's storescu with the
same files: once with an association a study as we do, once with one for all.

The neighbour: two destinations, of which one takes connections and never says a word. The other's median time from the
queue to the receipt, with and without it, in alternating rounds.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sqlalchemy import func, select

from ichd.domain.delivery import ObjectKind, Outgoing
from ichd.domain.job import JobKind, JobState, RetryPolicy
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.publish.cstore import CStore
from ichd.store.tables import JobRow
from ichd.store.transaction import reading
from ichd.telemetry import configure_logging
from tests.benchmarks.figures import Figure, arguments, print_figures
from tests.benchmarks.servers import ENVIRONMENT, Server, storescp
from tests.pipeline.clinic import Clinic
from tests.pipeline.delivering import black_hole, courier, lanes, node, route

SLICES = 36
KINDS = (ObjectKind.SR, ObjectKind.KO, ObjectKind.SC)
PATIENT = RetryPolicy(first_s=2.0, ceiling_s=300.0, max_attempts=1000)


def now() -> datetime:
    """The wall's clock, by which deliveries are timed."""
    return datetime.now(UTC)


def main() -> None:
    options = arguments(__doc__ or "")
    builds, queued, rounds, a_round = (5, 60, 2, 15) if options.quick else (20, 1000, 5, 40)
    configure_logging("error", "console")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = write_series(render(PhantomRecipe(seed=1, slices=SLICES, bleeds=("subdural",))), folder / "phantom")
        with storescp(folder / "received") as server:
            clinic = Clinic(folder, files)
            figures = measure_one(clinic, server, builds)
            figures |= measure_many(clinic, server, queued)
            figures |= measure_neighbour(clinic, server, rounds, a_round)
    print_figures(figures, {}, as_json=options.json)


def measure_one(clinic: Clinic, server: Server, builds: int) -> dict[str, Figure]:
    """What a report costs from finding to receipt; the first one of a process is not counted."""
    porter = courier(clinic, route(to(server), *KINDS), clock=now)
    spent_ms: list[float] = []
    for _ in range(builds + 1):
        clinic.read("pacs")
        job = clinic.claim(kinds=(JobKind.PUBLISH,))
        began = time.process_time()
        porter.publish(job)
        spent_ms.append((time.process_time() - began) * 1e3)
    sizes = {each.kind: each.path.stat().st_size for each in rendered(clinic)}
    return {
        "cpu_ms_per_study": round(statistics.median(spent_ms[1:]), 1),
        "cpu_ms_per_study_worst": round(max(spent_ms[1:]), 1),
        "sr_kib": round(sizes[ObjectKind.SR] / 1024, 1),
        "ko_kib": round(sizes[ObjectKind.KO] / 1024, 1),
        "sc_kib": round(sizes[ObjectKind.SC] / 1024, 1),
    }


def measure_many(clinic: Clinic, server: Server, count: int) -> dict[str, Figure]:
    """Queued, rendered deliveries by one lane, and the same files by dcmtk."""
    template = rendered(clinic)
    for number in range(count):
        clinic.copy(number, template, "pacs")
    studies = [folder_of(clinic, number, template) for number in range(count)]
    began = time.monotonic()
    with lanes(clinic, PATIENT, courier(clinic, route(to(server), *KINDS), clock=now), "pacs"):
        wait_until_delivered(clinic, "pacs")
    ours = count / (time.monotonic() - began)
    target = ("--required", "--aetitle", "BENCH", "--call", server.ae_title, "127.0.0.1", str(server.port))
    began = time.monotonic()
    for paths in studies:
        subprocess.run(["storescu", *target, *map(str, paths)], env=ENVIRONMENT, check=True)
    theirs = count / (time.monotonic() - began)
    began = time.monotonic()
    for some in range(0, count, 100):
        paths = [path for study in studies[some : some + 100] for path in study]
        subprocess.run(["storescu", *target, *map(str, paths)], env=ENVIRONMENT, check=True)
    at_once = count / (time.monotonic() - began)
    return {
        "deliveries": count,
        "studies_per_s": round(ours, 1),
        "storescu_studies_per_s": round(theirs, 1),
        "storescu_one_association_studies_per_s": round(at_once, 1),
        "ratio_storescu": round(ours / theirs, 2),
        "ratio_storescu_one_association": round(ours / at_once, 2),
    }


def measure_neighbour(clinic: Clinic, server: Server, rounds: int, a_round: int) -> dict[str, Figure]:
    """The median of a delivery beside a destination that hangs, over that without one."""
    template = rendered(clinic)
    number = 1_000_000
    seconds: dict[str, list[float]] = {"alone": [], "beside": []}
    with black_hole() as port:
        routes = (route(to(server), *KINDS), route(node(port, name="dead", timeout_s=30.0), *KINDS))
        porter = courier(clinic, *routes, clock=now)
        with lanes(clinic, PATIENT, porter, "pacs", "dead"):
            for _ in range(rounds):
                for name, destinations in (("alone", ("pacs",)), ("beside", ("pacs", "dead"))):
                    first = newest_job(clinic)
                    for _ in range(a_round):
                        clinic.copy(number, template, *destinations)
                        number += 1
                        time.sleep(0.05)
                    wait_until_delivered(clinic, "pacs")
                    seconds[name] += delivery_times(clinic, "pacs", after=first)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "delivery_s_alone": round(medians["alone"], 4),
        "delivery_s_beside_dead": round(medians["beside"], 4),
        "neighbour_slowdown": round(medians["beside"] / medians["alone"], 3),
    }


def to(server: Server) -> CStore:
    """The way to a server of the benchmarks, as the destination `pacs`."""
    return node(server.port, name="pacs", timeout_s=30.0)


def rendered(clinic: Clinic) -> list[Outgoing]:
    """The objects of the newest revision of the study that has files."""
    summary = clinic.summary(clinic.study_uid)
    kept = clinic.outbox.kept(1, summary.revision, KINDS, destination="pacs")
    return [each for kind in KINDS for each in kept[kind]]


def folder_of(clinic: Clinic, number: int, template: Sequence[Outgoing]) -> list[Path]:
    """Where the objects of a copy lie: its number follows those that were made before."""
    kept = clinic.outbox.kept(2 + number, 1, KINDS, destination="pacs")
    return [each.path for kind in KINDS for each in kept[kind]]


def wait_until_delivered(clinic: Clinic, destination: str) -> None:
    """Poll, seldom: the poller must not be what is measured."""
    owed = select(func.count()).where(JobRow.destination == destination, JobRow.state != JobState.DONE)
    while True:
        with reading(clinic.engine) as session:
            if not session.scalar(owed):
                return
        time.sleep(0.05)


def newest_job(clinic: Clinic) -> int:
    """Number of the last job so far."""
    with reading(clinic.engine) as session:
        return session.scalar(select(func.max(JobRow.id))) or 0


def delivery_times(clinic: Clinic, destination: str, *, after: int) -> list[float]:
    """Seconds from the queue to the receipt."""
    jobs = select(JobRow).where(JobRow.destination == destination, JobRow.id > after)
    with reading(clinic.engine) as session:
        rows = session.scalars(jobs).all()
    return [(row.finished_at - row.created_at).total_seconds() for row in rows if row.finished_at]


if __name__ == "__main__":
    main()
