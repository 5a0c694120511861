"""CT images to send, and dcmtk's storescu to send them: the same sender for every receiver."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.uid import generate_uid

from ichd.phantom import PhantomRecipe, render, write_series
from tests.benchmarks.servers import ENVIRONMENT, Server


class Images:
    """Sets of CT images of 512x512, uncompressed, each image under a UID of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        paths = write_series(render(PhantomRecipe(seed=1, slices=12)), folder / "template")
        self._templates = [pydicom.dcmread(path) for path in paths]
        self._sets = 0

    def make(self, count: int) -> Path:
        """A folder with a new study of so many images."""
        self._sets += 1
        folder = self._folder / f"set-{self._sets}"
        folder.mkdir()
        study_uid, series_uid = generate_uid(), generate_uid()
        for number in range(count):
            image = self._templates[number % len(self._templates)]
            image.StudyInstanceUID, image.SeriesInstanceUID = study_uid, series_uid
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            image.InstanceNumber = number + 1
            image.save_as(folder / f"{number:04}.dcm")
        return folder

    def sets(self, senders: int, count: int) -> list[Path]:
        """One set a sender, `count` images in all, and all of them on the disk.

        Unwritten ones would be written by the first sync of whoever receives first.
        """
        sets = [self.make(count // senders) for _ in range(senders)]
        os.sync()
        return sets


def send(server: Server, sets: Sequence[Path]) -> float:
    """Send every set by a process of its own, all at once; the images a second from the first start to the last end.

    Raises:
        RuntimeError: an image was not taken.
    """
    images = sum(len(list(folder.iterdir())) for folder in sets)
    target = ("--aetitle", "BENCH", "--call", server.ae_title, "127.0.0.1", str(server.port))
    commands = [["storescu", "--scan-directories", *target, str(folder)] for folder in sets]
    started = time.monotonic()
    senders = [subprocess.Popen(command, env=ENVIRONMENT) for command in commands]
    codes = [sender.wait() for sender in senders]
    if any(codes):
        raise RuntimeError(f"{server.name} did not take every image")
    return images / (time.monotonic() - started)
