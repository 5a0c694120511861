"""SIGKILL at random moments while studies arrive: nothing that was acknowledged is lost, nothing is reported twice."""

import os
import random
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

import pydicom
from pydicom.uid import CTImageStorage
from pynetdicom import AE

from ichd.phantom import PhantomRecipe, render, write_series
from tests.acceptance.daemon import Daemon, Destination, running, wait_until
from tests.peers.storescp import running_receiver

#: A handful in CI; the full run is KILL_TEST_KILLS=40 KILL_TEST_STUDIES=10.
KILLS = int(os.environ.get("KILL_TEST_KILLS", "4"))
STUDIES = int(os.environ.get("KILL_TEST_STUDIES", "3"))
#: Of each study.
SLICES = 16
GIVE_UP_AFTER_S = 900.0
SEED = int(os.environ.get("KILL_TEST_SEED", "20191113"))


def test_killed_at_random_moments_every_acknowledged_study_is_reported_once(tmp_path: Path) -> None:
    folders = [tmp_path / f"study-{i}" for i in range(STUDIES)]
    study_uids = set()
    for seed, folder in enumerate(folders):
        recipe = PhantomRecipe(
            seed=1000 + seed, slices=SLICES, rows=256, voxel_mm=2.0, bleeds=("subdural",) if seed % 2 else ()
        )
        files = write_series(render(recipe), folder)
        study_uids.add(str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID))
    chance = random.Random(SEED)

    with running_receiver(tmp_path / "received") as pacs:
        daemon = Daemon(
            tmp_path / "daemon",
            [Destination(ae_title=pacs.ae_title, port=pacs.port)],
            extra_settings="[study]\ninterrupted_period_s = 15.0\n",
            # It is we who kill, and no study is poison.
            worker_settings="deaths_allowed = 100",
        )
        with running(daemon):
            scanners = [Scanner(daemon, folder) for folder in folders]
            for scanner in scanners:
                scanner.start()
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.0, 14.0))
                daemon.kill()
                daemon.start(wait=False)
            for scanner in scanners:
                scanner.join()
            acknowledged = {uid for scanner in scanners for uid in scanner.acknowledged}
            assert len(acknowledged) == SLICES * STUDIES

            def all_reported() -> bool:
                studies = daemon.listed()
                return studies.keys() == study_uids and all(s["state"] == "reported" for s in studies.values())

            wait_until(all_reported, f"not every study was reported; see {daemon.log}", poll_s=1.0)
            # A kill between a file and its row leaves a file that nobody was told of; a sweep after the start takes it.
            wait_until(lambda: spooled(daemon) == known(daemon), "files and rows differ", poll_s=1.0, patience_s=240.0)
            studies = daemon.studies()
            daemon.stop()

        objects = [pydicom.dcmread(path, stop_before_pixels=True) for path in pacs.files()]
        for modality in ("SR", "KO", "OT"):
            of_kind = [o for o in objects if o.Modality == modality]
            assert Counter(str(o.StudyInstanceUID) for o in of_kind) == Counter(study_uids), modality
        assert {s["images"] for s in studies.values()} == {SLICES}
        assert stored_uids(daemon) == acknowledged


def spooled(daemon: Daemon) -> set[str]:
    """Image files under the spool, whole or partial, relative to it."""
    root = daemon.folder / "spool"
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and not p.name.startswith(".")}


def stored_uids(daemon: Daemon) -> set[str]:
    """SOP Instance UIDs of all rows."""
    with sqlite3.connect(daemon.folder / "ichd.db") as database:
        return {uid for (uid,) in database.execute("SELECT sop_instance_uid FROM instance")}


def known(daemon: Daemon) -> set[str]:
    """The same, as the database has them."""
    with sqlite3.connect(daemon.folder / "ichd.db") as database:
        return {path for (path,) in database.execute("SELECT path FROM instance")}


class Scanner(threading.Thread):
    """Sends a study image by image until each was acknowledged, and never sends one again that was."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        super().__init__(name=folder.name)
        self._daemon_under_test = daemon
        self._waiting = sorted(folder.glob("*.dcm"))
        #: SOP Instance UIDs that the daemon said yes to.
        self.acknowledged: set[str] = set()

    def run(self) -> None:
        deadline = time.monotonic() + GIVE_UP_AFTER_S
        while self._waiting and time.monotonic() < deadline:
            ae = AE(ae_title="SCANNER")
            ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 10
            ae.add_requested_context(CTImageStorage)
            association = ae.associate("127.0.0.1", self._daemon_under_test.port, ae_title="ICHD")
            if not association.is_established:
                time.sleep(0.3)
                continue
            while self._waiting and association.is_established:
                image = pydicom.dcmread(self._waiting[0])
                try:
                    answer = association.send_c_store(image)
                except (RuntimeError, ValueError):
                    break  # the association ended between two images
                if answer.get("Status") != 0x0000:
                    break
                self.acknowledged.add(str(image.SOPInstanceUID))
                self._waiting.pop(0)
                time.sleep(0.25)
            if association.is_established:
                association.release()
