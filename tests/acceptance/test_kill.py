"""SIGKILL at random moments while studies arrive: nothing that was acknowledged is lost, nothing is reported twice."""

import os
import random
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

import pydicom

from ichd.domain.errors import IchdError
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.publish.send import send_folder
from tests.acceptance.daemon import Daemon, Destination, running, wait_until
from tests.peers.storescp import running_receiver

#: A handful in CI; the full run is KILL_TEST_KILLS=40 KILL_TEST_STUDIES=10.
KILLS = int(os.environ.get("KILL_TEST_KILLS", "6"))
STUDIES = int(os.environ.get("KILL_TEST_STUDIES", "4"))
SEED = int(os.environ.get("KILL_TEST_SEED", "20191113"))


def test_killed_at_random_moments_every_acknowledged_study_is_reported_once(tmp_path: Path) -> None:
    folders = [tmp_path / f"study-{i}" for i in range(STUDIES)]
    study_uids = set()
    for seed, folder in enumerate(folders):
        recipe = PhantomRecipe(
            seed=1000 + seed, slices=12, rows=256, voxel_mm=2.0, bleeds=("subdural",) if seed % 2 else ()
        )
        files = write_series(render(recipe), folder)
        study_uids.add(str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID))
    chance = random.Random(SEED)

    with running_receiver(tmp_path / "received") as pacs:
        daemon = Daemon(
            tmp_path / "daemon",
            [Destination(ae_title=pacs.ae_title, port=pacs.port)],
            extra_settings="[study]\ninterrupted_period_s = 6.0\n",
        )
        with running(daemon):
            senders = [threading.Thread(target=send_until_acknowledged, args=(daemon, f)) for f in folders]
            for sender in senders:
                sender.start()
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.0, 8.0))
                daemon.kill()
                daemon.start(wait=False)
            for sender in senders:
                sender.join()

            def all_reported() -> bool:
                studies = daemon.studies()
                return studies.keys() == study_uids and all(s["state"] == "reported" for s in studies.values())

            wait_until(all_reported, f"not every study was reported; see {daemon.log}", poll_s=1.0)
            # A kill between a file and its row leaves a file that nobody was told of; a sweep after the start takes it.
            wait_until(lambda: spooled(daemon) == known(daemon), "files and rows differ", poll_s=1.0)
            studies = daemon.studies()
            daemon.stop()

        reports = [pydicom.dcmread(path) for path in pacs.files()]
        assert Counter(str(r.StudyInstanceUID) for r in reports) == Counter(study_uids)
        assert {s["images"] for s in studies.values()} == {12}
        assert len(known(daemon)) == 12 * STUDIES


def spooled(daemon: Daemon) -> set[str]:
    """Files under the spool, relative to it."""
    root = daemon.folder / "spool"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def known(daemon: Daemon) -> set[str]:
    """The same, as the database has them."""
    with sqlite3.connect(daemon.folder / "ichd.db") as database:
        return {path for (path,) in database.execute("SELECT path FROM instance")}


def send_until_acknowledged(daemon: Daemon, folder: Path) -> None:
    """A scanner: it sends until every image was answered with success, however often the line breaks."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        try:
            summary = send_folder(daemon.peer, [folder], progress=lambda *_: time.sleep(0.05))
        except IchdError:
            time.sleep(0.3)
            continue
        if not summary.refused:
            return
    raise AssertionError(f"{folder} could not be sent")
