"""How many workers a network of hospitals needs: the real queue, workers whose inference is a sleep, time that is told.

The store takes the time as an argument, so a day needs no day: events (a study is complete, a reading or a delivery
ends) are taken in their order, and every claim, finding and receipt goes through the store's own verbs with the moment
that it is at. What comes out are the waits that the order of the queue and the number of workers make, the same for the
same seed; what the database takes is measured by `scale.py`. To check it, the busiest hour runs once more on PostgreSQL
with worker threads that really sleep, in time that runs faster.
"""

import itertools
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ichd.domain.finding import Triage
from tests.benchmarks.figures import Figure, arguments, print_figures
from tests.benchmarks.network import HOSPITALS, Arrival, arrivals
from tests.benchmarks.shift import Shift
from tests.benchmarks.ward import Day, Ward
from tests.peers.postgresql import PostgresqlAbsent, running_postgresql

WORKERS = (1, 2, 4, 8, 16, 32)
#: Mean seconds of a reading: a GPU, two to four cores with OpenVINO, a machine that has neither.
READINGS_S = (0.5, 2.5, 10.0)
SEED = 20191113
#: A workload beyond this share of the workers' time only grows.
_TOO_MUCH = 0.95
#: How many seconds pass in a real one.
_SPEED = 10.0
#: More workers than these change nothing that a table could show.
_ALL_IDLE = 0.05
_HEAD = "| reading, mean | workers | busy | p50 | p95 | p99 | urgent p99 | longest routine |"


def main() -> None:
    options = arguments(__doc__ or "")
    hours = 0.25 if options.quick else 3.0
    coming = arrivals(random.Random(SEED), first_hour=14, hours=hours)
    print(f"{len(coming)} studies in {hours:g} of the busiest hours of {HOSPITALS} hospitals, backlogs included\n")
    figures: dict[str, Figure] = {}
    # In memory: time that is told must not wait for a disk.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        folder = Path(scratch)
        print(f"{_HEAD}\n{'|---' * _HEAD.count(' | ')}|---|")
        for reading_s in READINGS_S[1:2] if options.quick else READINGS_S:
            _print_rows(folder, coming, reading_s, WORKERS[:4:3] if options.quick else WORKERS, figures)
        figures["overtaken_h"] = round(_overload(folder, studies=30 if options.quick else 600) / 3600, 2)
    figures |= _with_real_threads(minutes=2.0 if options.quick else 15.0)
    print()
    why_null = {name: PostgresqlAbsent.__doc__ or "" for name, value in figures.items() if value is None}
    print_figures(figures, why_null, as_json=options.json)


def _print_rows(
    folder: Path, coming: Sequence[Arrival], reading_s: float, numbers: Sequence[int], figures: dict[str, Figure]
) -> None:
    """The lines of the capacity table for one time of reading."""
    lasts_s = coming[-1].at_s - coming[0].at_s
    for workers in numbers:
        if len(coming) * reading_s > _TOO_MUCH * workers * lasts_s:
            print(f"| {reading_s:g} s | {workers} | too few | | | | | |")
            continue
        day = Ward(folder, workers=workers, reading_s=reading_s).live(coming)
        routine = day.latencies_s[Triage.ROUTINE]
        shown = [_percentile(_all(day), share) for share in (50, 95, 99)]
        shown += [_percentile(day.latencies_s[Triage.URGENT], 99), max(routine)]
        print(f"| {reading_s:g} s | {workers} | {day.busy_share:.0%} | {' | '.join(map(_said, shown))} |", flush=True)
        figures[f"p95_s_{workers}_workers_{reading_s:g}s"] = round(shown[1], 2)
        figures["doubled"] = int(figures.get("doubled") or 0) + day.doubled
        if day.busy_share < _ALL_IDLE and reading_s != READINGS_S[1]:
            return


def _overload(folder: Path, *, studies: int) -> float:
    """One worker with a third more than it can do: seconds by which a job was overtaken at most.

    A quarter of the studies come back while the others wait, urgent ones with their head start of four hours.
    """
    chance = random.Random(SEED)
    reading_s = 80.0
    coming = [
        replace(each, at_s=number * 60.0, late_after_s=600.0 if number % 4 == 0 else None)
        for number, each in enumerate(
            itertools.islice(itertools.cycle(arrivals(chance, first_hour=14, hours=0.5)), studies)
        )
    ]
    return Ward(folder, workers=1, reading_s=reading_s).live(coming).overtaken_s


def _with_real_threads(*, minutes: float) -> dict[str, Figure]:
    """The same question to eight threads and to told time: their answers must not differ by more than the database."""
    coming = arrivals(random.Random(SEED), first_hour=15, hours=minutes / 60)
    figures: dict[str, Figure] = {"threads_p95_s": None, "told_p95_s": None}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ichd-cluster-")))
        folder.chmod(0o755)
        try:
            url = stack.enter_context(running_postgresql(folder / "server"))
        except PostgresqlAbsent:
            return figures
        real = Shift(url, folder / "spool", workers=8, reading_s=READINGS_S[1], speed=_SPEED).live(coming)
        told = Ward(folder, workers=8, reading_s=READINGS_S[1]).live(coming)
    figures["threads_p95_s"] = round(_percentile(real, 95), 2)
    figures["told_p95_s"] = round(_percentile(told.readings_s, 95), 2)
    return figures


def _all(day: Day) -> list[float]:
    return [seconds for each in day.latencies_s.values() for seconds in each]


def _percentile(seconds: Sequence[float], share: int) -> float:
    return statistics.quantiles(seconds, n=100)[share - 1]


def _said(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


if __name__ == "__main__":
    main()
