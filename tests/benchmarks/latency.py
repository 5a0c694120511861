"""From association release to the Structured Report on the destination's disk, demo model, two alternating inputs.

The real head CT is used where ICHD_TEST_DATA names it, else a phantom of the same 28 slices of 512x512.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pydicom
from pydicom.uid import generate_uid

from ichd.phantom import PhantomRecipe, render, write_series
from ichd.publish.send import send_folder
from tests.acceptance.daemon import Daemon, Destination, running, wait_until
from tests.benchmarks.figures import Figure, arguments, print_figures
from tests.peers.storescp import running_receiver

_LATER = "streaming is not built yet"


def main() -> None:
    options = arguments(__doc__ or "")
    rounds = 3 if options.quick else 10
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source, what = _source(folder)
        seconds = _measure(folder, source, rounds)
    figures: dict[str, Figure] = {
        "demo_release_to_sr_s": round(statistics.median(seconds), 3),
        "demo_release_to_sr_s_worst": round(max(seconds), 3),
        "quiet_period_s": 2.0,
        "rounds": rounds,
        "release_to_sr_s_streaming": None,
        "release_to_sr_s_plain": None,
        "streaming_ratio": None,
    }
    print(f"input: {what}")
    nulls = {name: _LATER for name, value in figures.items() if value is None}
    print_figures(figures, nulls, as_json=options.json)


def _source(folder: Path) -> tuple[list[Path], str]:
    root = os.environ.get("ICHD_TEST_DATA")
    if root:
        return sorted(Path(root, "head-ct-ge").glob("*.dcm")), "real head CT, 28 slices of 512x512"
    return write_series(render(PhantomRecipe(seed=1)), folder / "phantom"), "phantom, 28 slices of 512x512"


def _measure(folder: Path, source: list[Path], rounds: int) -> list[float]:
    seconds = []
    with running_receiver(folder / "received") as pacs:
        daemon = Daemon(folder / "daemon", [Destination(ae_title=pacs.ae_title, port=pacs.port)])
        with running(daemon):
            wait_until(lambda: b'"worker_ready"' in daemon.log.read_bytes(), "the worker did not come up")
            for number in range(rounds):
                study = _as_new_study(source, folder / f"study-{number}")
                send_folder(daemon.peer, [study], progress=lambda *_: None)
                released = time.monotonic()
                pacs.wait_for(number + 1)
                seconds.append(time.monotonic() - released)
            daemon.stop()
    return seconds


def _as_new_study(source: list[Path], folder: Path) -> Path:
    folder.mkdir()
    study_uid, series_uid = generate_uid(), generate_uid()
    for path in source:
        image = pydicom.dcmread(path)
        image.StudyInstanceUID, image.SeriesInstanceUID = study_uid, series_uid
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.save_as(folder / path.name)
    return folder


if __name__ == "__main__":
    main()
