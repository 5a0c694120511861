"""Small legal CT images, built with pydicom: an encoder that knows nothing of the walk under test."""

import io
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from ichd.domain.study import CT_IMAGE_STORAGE

EXPLICIT = str(ExplicitVRLittleEndian)
ROOT = "1.2.826.0.1.3680043.10.1459"

#: Stand in every image; must never leave the spool.
MARKED_NAME = "Zzyzx^Quetzalcoatl"
MARKED_ID = "PID-7731-XYLO"
MARKED_BIRTH = "19310207"


def image(number: int = 1, **attributes: Any) -> Dataset:
    """One axial CT slice of 8 x 8; None removes an attribute."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CT_IMAGE_STORAGE
    ds.SOPInstanceUID = f"{ROOT}.1.{number}"
    ds.StudyDate, ds.StudyTime = "20240131", "101112.5"
    ds.AccessionNumber = "A4711"
    ds.Modality = "CT"
    ds.SeriesDescription = "Schädel axial"
    ds.ReferencedImageSequence = Sequence([_reference(), _reference()])
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = MARKED_NAME, MARKED_ID, MARKED_BIRTH
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.2", f"{ROOT}.3"
    ds.SeriesNumber, ds.InstanceNumber = 2, number
    ds.ImagePositionPatient = [-120.5, -130, 5.0 * number]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.FrameOfReferenceUID = f"{ROOT}.4"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = 8
    ds.PixelSpacing = [0.5, 0.25]
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 1
    ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
    ds.PixelData = bytes(range(128))
    for keyword, value in attributes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def encode(ds: Dataset, transfer_syntax_uid: str = EXPLICIT) -> bytes:
    """The encoded data set, without preamble and meta information."""
    syntax = UID(transfer_syntax_uid)
    content = io.BytesIO()
    buffer = DicomFileLike(content)
    buffer.is_implicit_VR = syntax.is_implicit_VR
    buffer.is_little_endian = syntax.is_little_endian
    if "PixelData" in ds:
        ds["PixelData"].VR = "OW"
    write_dataset(buffer, ds)
    return content.getvalue()


def _reference() -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = CT_IMAGE_STORAGE
    item.ReferencedSOPInstanceUID = f"{ROOT}.9"
    return item
