"""How fast images are taken: ichd against Orthanc and against dcmtk's bare storescp, in alternating rounds.

Every sender is dcmtk's storescu with TCP_NODELAY=1, every store is fresh, and the senders of a round share 300 CT
images of 512x512 between them. ichd answers only once an image is synced and its row committed; Orthanc syncs its
files; storescp syncs nothing. The ratios are medians over the rounds of one run. Then ichd alone: memory with 16
senders, and its rate on databases that already hold 100,000 and 1,000,000 instances. Nothing is deleted before the end:
for minutes after many files were deleted ext4 is slow to make new ones.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil

from ichd.store.engine import migrate, open_database
from tests.benchmarks.figures import Figure, arguments, print_figures
from tests.benchmarks.million import fill
from tests.benchmarks.sending import Images, send
from tests.benchmarks.servers import Server, ichd_listener, orthanc, storescp
from tests.peers.orthanc import MISSING

IMAGES = 300
SENDERS = (1, 4, 16)
FILLED = (0, 100_000, 1_000_000)

Open = Callable[[Path], AbstractContextManager[Server]]
Rates = dict[tuple[str, int], list[float]]


def main() -> None:
    options = arguments(__doc__ or "")
    # On the disk that a store would lie on: /tmp may be memory, which makes a sync cost nothing.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".intake-") as scratch:
        folder = Path(scratch)
        images = Images(folder)
        rates, rss_mb = _against_others(folder, images, rounds=1 if options.quick else 3)
        filled = None if options.quick else _on_filled_databases(folder, images)
    figures = _figures(rates, rss_mb, filled)
    nulls = {
        name: (MISSING or "not measured") if "orthanc" in name else "takes minutes; leave out --quick"
        for name, value in figures.items()
        if value is None
    }
    print_figures(figures, nulls, as_json=options.json)


def _against_others(folder: Path, images: Images, *, rounds: int) -> tuple[Rates, float]:
    receivers: dict[str, Open] = {"ichd": ichd_listener, "storescp": storescp}
    if not MISSING:
        receivers["orthanc"] = orthanc
    rates: Rates = {}
    rss_mb = 0.0
    for number in range(rounds):
        for senders in SENDERS:
            sets = images.sets(senders, IMAGES)
            # In turns: nobody is always the first.
            for name, receiver in sorted(receivers.items(), reverse=bool(number % 2)):
                if senders > 4 and name != "ichd":
                    continue
                with receiver(folder / f"{name}-{number}-{senders}") as server:
                    rate = send(server, sets)
                    if server.pid is not None:
                        rss_mb = max(rss_mb, psutil.Process(server.pid).memory_info().rss / 1e6)
                rates.setdefault((name, senders), []).append(rate)
                print(f"round {number + 1}: {name:<9}{senders:>3} senders {rate:8.0f} images/s", flush=True)
    return rates, rss_mb


def _on_filled_databases(folder: Path, images: Images, rounds: int = 3) -> dict[int, float]:
    """Images a second with four senders, by the number of instances that the database holds before."""
    rates: dict[int, list[float]] = {instances: [] for instances in FILLED}
    with ExitStack() as stack:
        servers = {}
        for instances in FILLED:
            database = folder / f"filled-{instances}" / "ichd.db"
            database.parent.mkdir()
            migrate(f"sqlite:///{database}")
            engine = open_database(f"sqlite:///{database}")
            fill(engine, instances)
            engine.dispose()
            servers[instances] = stack.enter_context(ichd_listener(database.parent, database=database))
        for number in range(rounds + 1):
            for instances, server in servers.items():
                rate = send(server, images.sets(4, IMAGES))
                # The first round warms up what the operating system keeps of a file that was just written.
                if number:
                    rates[instances].append(rate)
                    print(f"round {number}: {instances:>9} instances before: {rate:8.0f} images/s", flush=True)
    return {instances: statistics.median(found) for instances, found in rates.items()}


def _figures(rates: Rates, rss_mb: float, filled: dict[int, float] | None) -> dict[str, Figure]:
    median = {key: statistics.median(found) for key, found in rates.items()}

    def ratio(name: str, senders: int) -> Figure:
        other = median.get((name, senders))
        return None if other is None else round(median["ichd", senders] / other, 3)

    return {
        "ratio_orthanc_1": ratio("orthanc", 1),
        "ratio_orthanc_4": ratio("orthanc", 4),
        "ratio_storescp_1": ratio("storescp", 1),
        "ratio_storescp_4": ratio("storescp", 4),
        **{f"instances_per_s_{senders}": round(median["ichd", senders], 1) for senders in SENDERS},
        "rss_mb": round(rss_mb, 1),
        "ratio_at_100k_rows": None if filled is None else round(filled[100_000] / filled[0], 3),
        "ratio_at_1m_rows": None if filled is None else round(filled[1_000_000] / filled[0], 3),
    }


if __name__ == "__main__":
    main()
