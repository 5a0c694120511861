"""Figures of hours as a hospital would have them: daily and weekly rhythm, a bad night, a new scanner.

Also a program: `python -m tests.web.believable_year FOLDER PORT [DAYS]` serves the pages on them, to look at.
"""

import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from ichd.domain.histogram import duration_bin, score_bin, slices_bin, thickness_bin
from ichd.store.days import count_day, day_of
from ichd.store.figures import put
from ichd.store.statistics import HOUR, Statistics, hour_of
from ichd.store.transaction import writing

DAY = timedelta(days=1)
#: When a scanner with another kernel and thinner slices came.
NEW_SCANNER = timedelta(days=24)
MACHINES = ("reader-1", "reader-2")
MODELS = ("seresnext50-published 3 8c1f20ab77d1", "seresnext50-site 1 f04be1c93a52")


def write_figures(engine: Engine, *, until: datetime, days: int) -> None:
    """Hours of so many days up to the last one that is over, and their days."""
    chance = random.Random(7)
    first = day_of(until) - (days - 1) * DAY
    hour = first
    while hour < hour_of(until):
        with writing(engine) as session:
            for _ in range(24):
                if hour < hour_of(until):
                    put(session, dict(figures(hour, until, chance)), hour)
                    hour += HOUR
    for number in range(days):
        count_day(engine, first + number * DAY)
    statistics = Statistics(engine)
    moment = first + timedelta(minutes=17)
    while moment < until:
        for number, machine in enumerate(MACHINES):
            drift = abs(chance.gauss(2e-4, 1e-4)) + (0.006 if number and until - moment < 9 * DAY else 0)
            statistics.record({f"self_test_drift/{machine}": drift}, at=moment)
        moment += DAY
    statistics.record(
        {f"disk_used/{machine}": 0.61 + 0.12 * n for n, machine in enumerate(MACHINES)}, at=hour_of(until)
    )


def figures(hour: datetime, until: datetime, chance: random.Random) -> Iterator[tuple[str, float]]:
    """One hour."""
    rhythm = (0.25, 1.0)[7 <= hour.hour < 20] * (0.6, 1.0)[hour.weekday() < 5]
    studies = max(0, round(chance.gauss(9, 2.5) * rhythm))
    stuck = timedelta(days=2, hours=5) < until - hour <= timedelta(days=2, hours=9)
    failed, skipped = (1, 0) if stuck else (0, int(chance.random() < 0.1))
    read = max(0, studies - failed - skipped)
    counts: Counter[str] = Counter(studies_received=studies, studies_failed=failed, studies_not_analysed=skipped)
    counts["studies_reported"] = read
    new = until - hour < NEW_SCANNER
    for _ in range(read):
        counts[f"latency_bin/{duration_bin(chance.lognormvariate(1.1, 0.35) * (40 if stuck else 1)):02d}"] += 1
        score = chance.betavariate(8, 2) if chance.random() < 0.11 else chance.betavariate(0.6, 18)
        counts[f"any_bin/{score_bin(score):02d}"] += 1
        triage = "urgent" if score > 0.6 else "routine" if score < 0.3 else "indeterminate"
        counts[f"triage/{triage}"] += 1
        fresh = new and chance.random() < 0.45
        thickness = 1.0 if fresh else chance.choice((5.0, 5.0, 4.8, 3.0))
        counts[f"input_thickness/{thickness_bin(thickness)}"] += 1
        counts[f"input_slices/{slices_bin(chance.randint(130, 180) if fresh else chance.randint(26, 38))}"] += 1
        counts["input_kernel/" + ("Hr38" if fresh else chance.choice(("H31s", "H31s", "H30f", "J30s")))] += 1
        counts["input_source/" + ("CT4" if fresh else chance.choice(("CT1", "CT1", "CT2", "ER-CT")))] += 1
        counts[f"read_by/{MODELS[until - hour < 55 * DAY]}"] += 1
        for code, often in (("motion", 0.06), ("metal", 0.04), ("tilted", 0.2), ("thin_slices_averaged", 0.02)):
            counts[f"input_remark/{code}"] += (chance.random() < often) + (fresh and code == "thin_slices_averaged")
        if chance.random() < 0.12:
            right = chance.random() < {"urgent": 0.84, "indeterminate": 0.5, "routine": 0.985}[triage]
            counts[f"words/{triage}/{'right' if right else 'wrong'}"] += 1
    counts["deliveries_ok/pacs"] = read
    counts["deliveries_ok/ris"] = 0 if stuck else read
    yield from counts.items()
    waiting = max(0, round(chance.gauss(2, 1.5) * rhythm)) + (18 if stuck else 0)
    yield "queue_peak/analyse", waiting
    yield "queue_peak/publish", waiting * 2 + (40 if stuck else 0)
    yield "wait_peak_s/analyse", waiting * 3.1
    yield "wait_peak_s/publish", waiting * 5.3 + (3600 if stuck else 0)
    for number, machine in enumerate(MACHINES):
        share = 0.55 + 0.12 * number + 0.05 * ((hour - datetime(2026, 1, 1, tzinfo=UTC)) / DAY % 9) / 9
        yield f"disk_used/{machine}", share


def main() -> None:
    from tests.browser.site import serving

    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with serving(folder, port=port) as site:
        hospital = site.hospital()
        write_figures(hospital.engine, until=hospital.now, days=int(sys.argv[3]) if len(sys.argv) > 3 else 120)
        print(f"{site.url}/system", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
