"""A scanner that sends studies that can be read, and does not give one up before all of it was acknowledged."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.uid import generate_uid

from ichd.phantom import PhantomRecipe, render, write_series
from tests.benchmarks.rogues import Ledger, Slice
from tests.intake.images import encode
from tests.intake.senders import SUCCESS, Sender

_SLICES = 12


class Scanner:
    """One phantom under ever new UIDs; what it sent whole is in `sent`."""

    def __init__(self, folder: Path, *, port: int, ledger: Ledger) -> None:
        recipe = PhantomRecipe(seed=3, slices=_SLICES, rows=96, voxel_mm=3.0, bleeds=("subdural",))
        self._template = [pydicom.dcmread(path) for path in write_series(render(recipe), folder)]
        self._port = port
        self._ledger = ledger
        #: Study Instance UIDs of those that were acknowledged whole.
        self.sent: list[str] = []

    def run(self, stop: threading.Event, *, rest_s: float) -> None:
        """Send study after study, until `stop`; one that was begun is finished."""
        while not stop.wait(rest_s):
            study_uid, slices = self._study()
            while slices:
                slices = self._send(slices)
                if slices:
                    self._ledger.count("images kept back")
                    threading.Event().wait(0.3)
            self.sent.append(study_uid)

    def _study(self) -> tuple[str, list[Slice]]:
        study_uid, series_uid = generate_uid(), generate_uid()
        return study_uid, [self._slice(each, study_uid, series_uid) for each in self._template]

    def _slice(self, template: Dataset, study_uid: str, series_uid: str) -> Slice:
        template.StudyInstanceUID, template.SeriesInstanceUID = study_uid, series_uid
        template.SOPInstanceUID = generate_uid()
        return Slice(sop_instance_uid=template.SOPInstanceUID, dataset=encode(template))

    def _send(self, slices: Sequence[Slice]) -> list[Slice]:
        """Returns those that were not acknowledged."""
        left = list(slices)
        try:
            sender = Sender(self._port)
            if not sender.association.is_established:
                self._ledger.count("receiver away")
                return left
            with sender:
                while left and sender.association.is_established:
                    if sender.store(left[0].dataset, left[0].sop_instance_uid).status != SUCCESS:
                        break
                    self._ledger.acknowledge([left.pop(0)])
        except (OSError, RuntimeError):
            self._ledger.count("receiver away")
        return left
