"""CT image files as the tests need them, one argument a thing that may vary."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ichd.vision.engines.engine import Engine, Part
from ichd.vision.preprocess import HU, Point
from ichd.vision.scan import HeadScan, SliceSource, SourceImage, load_scan


def embed_slices(
    engine: Engine, hu_SHW: HU, pixel_spacing_mm: tuple[float, float], centre: Point | None = None
) -> NDArray[np.float32]:
    """Embeddings [S, F] of the slices of one scan."""
    (embeddings_SF,) = engine.embed([Part(hu_SHW=hu_SHW, pixel_spacing_mm=pixel_spacing_mm, centre=centre)])
    return embeddings_SF


AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Image:
    """One CT image; `stored` holds the bits as they stand in Pixel Data."""

    stored: NDArray[np.int16] | NDArray[np.uint16]
    position: tuple[float, ...] = (0.0, 0.0, 0.0)
    orientation: tuple[float, ...] = AXIAL
    spacing: tuple[float, ...] = (1.0, 1.0)
    bits_stored: int = 16
    high_bit: int | None = None
    slope: float | None = 1.0
    intercept: float | None = 0.0
    photometric: str = "MONOCHROME2"
    padding: int | None = None
    padding_limit: int | None = None
    instance_number: int = 1
    acquisition_number: int = 1
    sop_instance_uid: str = ""
    series_instance_uid: str = "1.2.826.0.1.3680043.8.498.2"
    frame_of_reference_uid: str = "1.2.826.0.1.3680043.8.498.3"
    frames: int | None = None
    thickness_mm: float | None = None
    patient_position: str | None = None

    def dataset(self) -> FileDataset:
        """The image as a data set with its file meta information."""
        signed = self.stored.dtype == np.int16
        uid = UID(self.sop_instance_uid) if self.sop_instance_uid else generate_uid()
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = CTImageStorage, uid, "CT"
        ds.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.1"
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID = self.series_instance_uid, self.frame_of_reference_uid
        ds.InstanceNumber, ds.AcquisitionNumber = self.instance_number, self.acquisition_number
        ds.ImagePositionPatient, ds.ImageOrientationPatient = list(self.position), list(self.orientation)
        ds.PixelSpacing = list(self.spacing)
        ds.Rows, ds.Columns = self.stored.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, self.photometric
        ds.BitsAllocated, ds.BitsStored = 16, self.bits_stored
        ds.HighBit = self.bits_stored - 1 if self.high_bit is None else self.high_bit
        ds.PixelRepresentation = int(signed)
        for keyword, value in (
            ("RescaleSlope", self.slope),
            ("RescaleIntercept", self.intercept),
            ("SliceThickness", self.thickness_mm),
            ("PatientPosition", self.patient_position),
        ):
            if value is not None:
                setattr(ds, keyword, value)
        vr = "SS" if signed else "US"
        if self.padding is not None:
            ds.add_new("PixelPaddingValue", vr, self.padding)
        if self.padding_limit is not None:
            ds.add_new("PixelPaddingRangeLimit", vr, self.padding_limit)
        if self.frames is not None:
            ds.NumberOfFrames = self.frames
        ds.PixelData = self.stored.tobytes()
        return ds

    def write(self, path: Path) -> Path:
        """Save to `path` and return it."""
        self.dataset().save_as(path, enforce_file_format=True)
        return path


def ramp(rows: int = 20, columns: int = 24, start: int = 0) -> NDArray[np.int16]:
    """Every pixel another value, so that any turn shows."""
    return (np.arange(rows * columns, dtype=np.int16) + np.int16(start)).reshape(rows, columns)


def disc(
    size: int, *, spacing_mm: float, diameter_mm: float, hu: int, centre: tuple[float, float] | None = None
) -> NDArray[np.int16]:
    """A round section of `hu` in air; `centre` (row, column) in pixels."""
    row, column = centre or ((size - 1) / 2, (size - 1) / 2)
    rows, columns = np.mgrid[:size, :size]
    inside = np.hypot(rows - row, columns - column) * spacing_mm <= diameter_mm / 2
    return np.where(inside, hu, -1000).astype(np.int16)


def one_image_a_slice(z_mm: Sequence[float]) -> tuple[tuple[SourceImage, ...], ...]:
    """Sources of a scan whose slices are images of their own."""
    return tuple(
        (SourceImage(sop_instance_uid=f"1.2.{index}", sop_class_uid=str(CTImageStorage), z_mm=z),)
        for index, z in enumerate(z_mm)
    )


def load_files(paths: Iterable[Path]) -> HeadScan:
    """The scan of images that are slices."""
    return load_scan([SliceSource(path=path) for path in paths])
