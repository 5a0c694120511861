"""Whether indexing and packing take the same time and memory for the last study as for the first.

`packing.py --scale N` writes N studies of 24 slices of 256x256 as the RSNA data lie: twenty phantoms, each study one of
them, moved and with noise of its own, so that every study compresses as a first one does. Memory is that of all
processes together, its highest value within each block of studies.
"""

import csv
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from ichd.domain.finding import CLASSES
from ichd.phantom import Phantom, PhantomRecipe, render
from tests.benchmarks.figures import Figure

_PHANTOMS, _SLICES, _ROWS = 20, 24, 256
_KINDS = ("intraparenchymal", "intraventricular", "subarachnoid", "subdural", "epidural")
_PROCESSES = 2
#: Of the whole competition (paper.md): studies, images, pixels an image.
_ALL_STUDIES, _ALL_IMAGES, _ALL_PIXELS = 21_744, 752_803, 512 * 512


@dataclass(kw_only=True)
class Blocks:
    """Seconds and peak memory by so many items."""

    title: str
    every: int
    started: float = field(default_factory=time.perf_counter)
    seconds: list[float] = field(default_factory=list)
    peaks_mb: list[float] = field(default_factory=list)
    _peak_mb: float = 0.0
    _counted: int = 0

    def __call__(self, done: int, total: int) -> None:
        """What `on_progress` is given."""
        self._peak_mb = max(self._peak_mb, _memory_mb())
        if done < self._counted + self.every and done < total:
            return
        now, items = time.perf_counter(), done - self._counted
        if items == 0:
            return
        self.seconds.append((now - self.started) / items)
        self.peaks_mb.append(self._peak_mb)
        print(f"{self.title} {done:>8,}   {items / (now - self.started):9.1f} a second   {self._peak_mb:7.0f} MB")
        self.started, self._peak_mb, self._counted = now, 0.0, done

    def figures(self, name: str) -> dict[str, Figure]:
        """The first block pays for starting processes, so the last is held against the second."""
        early = 1 if len(self.seconds) > 2 else 0
        return {
            f"{name}_time_last_to_second": round(self.seconds[-1] / self.seconds[early], 2),
            f"{name}_growth_mb": round(self.peaks_mb[-1] - self.peaks_mb[early]),
            f"{name}_peak_mb": round(max(self.peaks_mb)),
        }


def scale_figures(studies: int) -> dict[str, Figure]:
    """Write, index, pack and open so many studies."""
    from training.cases.rsna import index_rsna
    from training.packed.dataset import open_packed
    from training.packed.pack import pack

    every = 250 if studies >= 1000 else max(1, studies // 4)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_studies(folder / "rsna", studies)
        indexing = Blocks(title="indexed images ", every=every * _SLICES)
        index = index_rsna(folder / "rsna", processes=_PROCESSES, on_progress=indexing)
        packing = Blocks(title="packed studies ", every=every)
        summary = pack(index, folder / "packed", processes=_PROCESSES, on_progress=packing)
        opening = time.perf_counter()
        open_packed(folder / "packed")
        open_s = time.perf_counter() - opening
    late_index, late_pack = indexing.seconds[-1], packing.seconds[-1]
    # By pixels, as if headers took longer for larger images: more than it will be.
    pixels = _ALL_IMAGES * _ALL_PIXELS / (studies * _SLICES * _ROWS**2)
    return {
        **indexing.figures("index"),
        **packing.figures("pack"),
        "pack_ratio": round(summary.raw_bytes / summary.bytes, 2),
        "open_s": round(open_s, 2),
        "projected_index_hours_21744": round(late_index * _ALL_IMAGES / 3600, 2),
        "projected_pack_hours_21744_at_most": round(late_pack * studies * pixels / 3600, 2),
        "projected_pack_gb_21744": round(summary.bytes * pixels / 1e9),
        "projected_open_s_21744": round(open_s * _ALL_STUDIES / studies, 1),
    }


@disable_value_validation()
def write_studies(folder: Path, studies: int) -> None:
    """The layout of the competition, plain: one encoding and no faults (`training.layouts.rsna` has those)."""
    images = folder / "stage_2_train"
    images.mkdir(parents=True)
    phantoms = [
        render(
            PhantomRecipe(seed=seed, slices=_SLICES, rows=_ROWS, voxel_mm=2.0, bleeds=(_KINDS[seed % 5],)[: seed % 2])
        )
        for seed in range(min(_PHANTOMS, studies))
    ]
    with (folder / "stage_2_train.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("ID", "Label"))
        for study in range(studies):
            phantom = phantoms[study % len(phantoms)]
            for index, hu_HW in enumerate(_varied(phantom, study)):
                image_id = f"ID_{study * _SLICES + index:09x}"
                _write(images / f"{image_id}.dcm", image_id, study, phantom, index, hu_HW)
                table.writerows(
                    (f"{image_id}_{name}", int(flag)) for name, flag in zip(CLASSES, phantom.truth[index], strict=True)
                )


def _varied(phantom: Phantom, study: int) -> Iterator[NDArray[np.int16]]:
    rng = np.random.default_rng(study)
    shift = rng.integers(-8, 9, 2)
    for hu_HW in phantom.hu_SHW:
        noise_HW = rng.normal(0, 2, hu_HW.shape)
        yield np.rint(np.roll(hu_HW, shift, (0, 1)) + noise_HW).astype(np.int16)


def _write(path: Path, image_id: str, study: int, phantom: Phantom, index: int, hu_HW: NDArray[np.int16]) -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = CTImageStorage, UID(image_id), "CT"
    dataset.PatientID = f"ID_{study:08x}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID(f"ID_{study:010x}"), UID(f"ID_{study + 2**40:010x}")
    dataset.ImagePositionPatient = [-110.0, -110.0, round(float(phantom.z_mm[index]), 3)]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [round(phantom.pixel_spacing_mm, 6)] * 2
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = _ROWS
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.WindowCenter, dataset.WindowWidth = "40", "80"
    dataset.RescaleIntercept, dataset.RescaleSlope = "-1024", "1"
    dataset.PixelData = (hu_HW.astype(np.int32) + 1024).clip(0, 32767).astype("<i2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(image_id)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)


def _memory_mb() -> float:
    """Of this process and all that it started."""
    me = psutil.Process()
    return sum(_rss(process) for process in (me, *me.children(recursive=True))) / 1e6


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
