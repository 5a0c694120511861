"""A small data set on disk with its index: what packing is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from ichd.domain.finding import CLASSES
from training.cases.index import SCHEMA, Index

UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image to write, and its row in the index."""

    hu_HW: NDArray[np.int16]
    z_mm: float = 0.0
    #: Of the averaged slice; None: one of its own.
    slab: int | None = None
    labels: Mapping[str, int | None] = field(default_factory=dict)
    orientation: tuple[float, ...] = UPRIGHT
    spacing_mm: tuple[float, float] = (0.5, 0.5)
    slope: float = 1.0
    intercept: float = -1024.0
    bits_stored: int = 16
    signed: bool = True
    #: Bytes of pixel data that are written; None: all.
    cut_to: int | None = None


@dataclass(frozen=True, kw_only=True)
class Study:
    """Images, inferior first."""

    name: str
    images: Sequence[Image]
    split: str | None = "train"
    label_level: str | None = "slice"


def head(rows: int = 48, columns: int = 40, *, seed: int = 0, shift: int = 0) -> NDArray[np.int16]:
    """A disc of noisy tissue in air, int16 HU [H, W]."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:rows, :columns]
    inside = (row - rows / 2 - shift) ** 2 + (column - columns / 2) ** 2 < (min(rows, columns) / 3) ** 2
    return np.where(inside, rng.normal(35, 5, inside.shape), -1000).astype(np.int16)


def plain_study(name: str, slices: int = 3, *, seed: int = 0, split: str | None = "train") -> Study:
    """A few slices 5 mm apart, every second one with an intraparenchymal bleed."""
    none = dict.fromkeys(CLASSES, 0)
    bleed = {**none, "any": 1, "intraparenchymal": 1}
    images = [
        Image(hu_HW=head(seed=seed * 100 + index), z_mm=5.0 * index, labels=bleed if index % 2 else none)
        for index in range(slices)
    ]
    return Study(name=name, images=images, split=split)


def write_site(folder: Path, studies: Sequence[Study]) -> Index:
    """Write the DICOM files, and index them."""
    rows = [_row(folder, study, position, image) for study in studies for position, image in enumerate(study.images)]
    return Index(images=pl.DataFrame(rows, schema=dict(SCHEMA)), facts={"source": "test"})


def _row(folder: Path, study: Study, position: int, image: Image) -> dict[str, object]:
    path = folder / study.name / f"{position:03}.dcm"
    image_id = f"{study.name}.{position}"
    _write_image(path, image, image_id, study.name)
    return {
        "image_id": image_id,
        "study_id": study.name,
        "series_id": f"{study.name}.series",
        "patient_id": f"{study.name}.patient",
        "path": str(path),
        "position": position,
        "slab": position if image.slab is None else image.slab,
        "z_mm": image.z_mm,
        "rows": image.hu_HW.shape[0],
        "columns": image.hu_HW.shape[1],
        "row_spacing_mm": image.spacing_mm[0],
        "column_spacing_mm": image.spacing_mm[1],
        "encoding": "16-bit signed -1024",
        "thickness_mm": None,
        "manufacturer": "Maker",
        **{name: image.labels.get(name) for name in CLASSES},
        "label_level": study.label_level,
        "split": study.split,
        "left_out": None,
    }


@disable_value_validation()
def _write_image(path: Path, image: Image, image_id: str, study_id: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stored_HW = np.rint((image.hu_HW - image.intercept) / image.slope).astype(np.int32)
    if not image.signed:
        # As the known fault of some exports has it: the low bits alone.
        stored_HW &= (1 << image.bits_stored) - 1
    pixels = stored_HW.astype("<i2" if image.signed else "<u2").tobytes()
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, UID(image_id)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.PatientID = study_id, f"{study_id}.1", "P"
    dataset.Modality = "CT"
    dataset.ImagePositionPatient = [0.0, 0.0, image.z_mm]
    dataset.ImageOrientationPatient = list(image.orientation)
    dataset.PixelSpacing = list(image.spacing_mm)
    dataset.Rows, dataset.Columns = image.hu_HW.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, image.bits_stored, image.bits_stored - 1
    dataset.PixelRepresentation = int(image.signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = str(image.slope), str(image.intercept)
    dataset.PixelData = pixels[: image.cut_to]
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(image_id)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
