"""The head that the self-test reads: synthetic, the same for ever, rendered once a machine and kept."""

import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ichd.domain.errors import Transient
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.store.disk import disk_trouble
from ichd.vision.scan import HeadScan, SliceSource, load_scan

#: A bleed that a model must not miss, no tilt and even slices, so that nothing but the model is in question.
RECIPE = PhantomRecipe(
    seed=20261,
    bleeds=("intraparenchymal", "subdural"),
    slices=24,
    voxel_mm=2.0,
    fov_mm=230.0,
    tilt_deg=0.0,
    thickness_mm=5.0,
    subtlety=0.0,
)
_SUMS = "sha256.json"
#: The lowest that there is: rendering takes half a minute of one core, once, and readings go first.
_NICE = 19


class StoredPhantom:
    """DICOM files in a folder of its own, with their checksums. Methods raise Transient where the disk fails."""

    def __init__(self, folder: Path, recipe: PhantomRecipe = RECIPE) -> None:
        self._recipe = recipe
        asked = hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]
        self._folder = folder / f"phantom-{asked}"
        self._making: threading.Thread | None = None
        self._trouble: Transient | None = None

    @property
    def checksum(self) -> str:
        """Over all of its files, as they were written: two kinds of processors may differ in a pixel's last bit."""
        return hashlib.sha256(json.dumps(self._sums(), sort_keys=True).encode()).hexdigest()

    def is_ready(self) -> bool:
        """Whether it is there and undamaged; where not, a thread sets about it, and one asks again."""
        if self._making is not None and self._making.is_alive():
            return False
        self._making = None
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble
        if self._is_whole():
            return True
        self._making = threading.Thread(target=self._render, name="phantom", daemon=True)
        self._making.start()
        return False

    def make(self) -> None:
        """Render and keep it, here and now; of several workers the first one does, and the others wait for it."""
        # One name for all, who come one by one: what a process left that was killed here is removed by the next.
        unfinished = self._folder.with_name(f"{self._folder.name}.part")
        with disk_trouble(), self._alone():
            shutil.rmtree(unfinished, ignore_errors=True)
            if self._is_whole():
                return
            files = write_series(render(self._recipe), unfinished)
            sums = {path.name: _sum(path) for path in files}
            (unfinished / _SUMS).write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")
            shutil.rmtree(self._folder, ignore_errors=True)
            unfinished.rename(self._folder)

    def scan(self) -> HeadScan:
        """As a reading of these files sees it."""
        return load_scan([SliceSource(path=self._folder / name) for name in sorted(self._sums())])

    def _render(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            self.make()
        except Transient as error:
            self._trouble = error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold a file that the operating system lets go of when we die."""
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with self._folder.with_name(f"{self._folder.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _is_whole(self) -> bool:
        try:
            sums = self._sums()
            return bool(sums) and all(_sum(self._folder / name) == value for name, value in sums.items())
        except (OSError, ValueError):
            return False

    def _sums(self) -> dict[str, str]:
        sums: dict[str, str] = json.loads((self._folder / _SUMS).read_text(encoding="utf-8"))
        return sums


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
