"""Seconds and memory of one process that reads scans of growing length on the CPU; a part of `engine`."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from ichd.telemetry import configure_logging
from ichd.vision.bundle import load_bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.choice import EngineWish, open_engine
from ichd.vision.reader import Reader
from tests.benchmarks.figures import Figure
from tests.vision.images import load_files

_ALL = (20, 40, 80, 160, 320)


def length_figures(folder: Path, bundle: Path, lengths: Sequence[int]) -> tuple[dict[str, Figure], dict[str, str]]:
    """Figures and what is null, of a process that starts cold: it converts the network before it reads."""
    names = [*(f"seconds_{n}" for n in _ALL), "linear_fit_r2", "seconds_a_slice", "rss_mb"]
    if not lengths:
        return dict.fromkeys(names), dict.fromkeys(names, "left out by --quick")
    from tests.benchmarks.engine import thick_series

    series = folder / "long"
    thick_series(series, max(lengths))
    command = [sys.executable, __file__, str(bundle), str(series), str(folder / "cold"), *map(str, lengths)]
    measured = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    seconds = {int(n): s for n, s in measured["seconds"].items()}
    slope, r2 = _fit(seconds)
    figures: dict[str, Figure] = {f"seconds_{n}": round(seconds[n], 2) for n in lengths}
    figures |= {"linear_fit_r2": round(r2, 5), "seconds_a_slice": round(slope, 4)}
    return {**figures, "rss_mb": measured["rss_mb"]}, {}


def _fit(seconds: dict[int, float]) -> tuple[float, float]:
    """Slope and R² of the least-squares line."""
    x, y = np.array(list(seconds)), np.array(list(seconds.values()))
    slope, intercept = np.polyfit(x, y, 1)
    residue = y - (slope * x + intercept)
    return float(slope), float(1 - residue.var() / y.var())


def _read(bundle: Path, series: Path, cache: Path, lengths: list[int]) -> None:
    # To standard error: what is printed is read by the parent.
    configure_logging()
    reader = Reader(open_engine(load_bundle(bundle), EngineWish(device="cpu"), EngineCache(cache)))
    reader.warm_up()
    files = sorted(series.iterdir())
    seconds = {}
    for length in lengths:
        started = time.perf_counter()
        reader.read(load_files(files[:length]))
        seconds[length] = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "rss_mb": _peak_mb()}))


def _peak_mb() -> float:
    """Of this process's own program: the peak that wait4 tells includes the parent's at the fork."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__" and len(sys.argv) > 1:
    _read(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), [int(n) for n in sys.argv[4:]])
