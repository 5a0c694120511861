"""Resident memory: the listener while four associations send 320-slice studies, and `ichd predict` on 320 slices."""

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil
import pydicom
from pydicom.uid import generate_uid

from ichd.phantom import PhantomRecipe, render, write_series
from ichd.publish.send import send_folder
from tests.acceptance.daemon import Daemon, running
from tests.benchmarks.figures import Figure, arguments, print_figures

SENDERS = 4


def main() -> None:
    options = arguments(__doc__ or "")
    slices = 160 if options.quick else 320
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        study = _study(folder / "study", slices)
        listener_mb = _listener(folder, study)
        predict_mb = _predict(study)
    figures: dict[str, Figure] = {
        "listener_rss_mb": round(listener_mb, 1),
        "predict_rss_mb": round(predict_mb, 1),
        "slices": slices,
        "senders": SENDERS,
    }
    print_figures(figures, {}, as_json=options.json)


def _study(folder: Path, slices: int) -> Path:
    """A thin-slice study: one phantom slice over and over, each at its own position and under its own UID."""
    (path,) = write_series(render(PhantomRecipe(seed=1, slices=1)), folder.with_name("template"))
    image = pydicom.dcmread(path)
    folder.mkdir()
    x, y, z = (float(v) for v in image.ImagePositionPatient)
    for number in range(slices):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.InstanceNumber = number + 1
        image.ImagePositionPatient = [x, y, z + 0.5 * number]
        image.save_as(folder / f"{number:03}.dcm")
    return folder


def _listener(folder: Path, study: Path) -> float:
    daemon = Daemon(folder / "daemon")
    with running(daemon):
        assert daemon.process is not None
        children = psutil.Process(daemon.process.pid).children()
        (listener,) = (child for child in children if "listen" in child.cmdline())
        done = threading.Event()
        peak = [0]

        def watch() -> None:
            while not done.wait(0.05):
                peak[0] = max(peak[0], listener.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        copies = [_copy(study, folder / f"copy-{n}") for n in range(SENDERS)]
        senders = [
            threading.Thread(target=send_folder, args=(daemon.peer, [copy]), kwargs={"progress": lambda *_: None})
            for copy in copies
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        done.set()
        watcher.join()
    return peak[0] / 2**20


def _copy(study: Path, folder: Path) -> Path:
    folder.mkdir()
    study_uid, series_uid = generate_uid(), generate_uid()
    for path in sorted(study.iterdir()):
        image = pydicom.dcmread(path)
        image.StudyInstanceUID, image.SeriesInstanceUID = study_uid, series_uid
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.save_as(folder / path.name)
    return folder


def _predict(study: Path) -> float:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ICHD_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "ichd", "predict", str(study), "--json"],
        stdout=subprocess.DEVNULL,
        env=environment,
        cwd=study.parent,
    )
    # wait4 gives the peak of this one child; getrusage would give the largest of all so far.
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
