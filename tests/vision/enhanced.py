"""Slices of one series as the frames of one Enhanced CT image (PS3.3 A.38), written with plain pydicom."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, EnhancedCTImageStorage, generate_uid

#: What a frame says itself.
_OF_FRAMES = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SliceLocation",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "ImageType", "AcquisitionNumber", "ConvolutionKernel",
)  # fmt: skip


def item(**values: Any) -> Items:
    """A sequence of one item."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return Items([dataset])


def enhanced(slices: Sequence[Path], *, sop_class_uid: str = EnhancedCTImageStorage) -> Dataset:
    """The slices, uncompressed, as frames in the order in which they are given."""
    sources = [dcmread(path) for path in slices]
    image = dcmread(slices[0])
    for keyword in _OF_FRAMES:
        if keyword in image:
            del image[keyword]
    uid = UID(generate_uid())
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = uid
    image.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    image.InstanceNumber, image.NumberOfFrames = 1, len(sources)
    image.SharedFunctionalGroupsSequence = Items([_shared(sources[0])])
    image.PerFrameFunctionalGroupsSequence = Items([_of(source) for source in sources])
    image.PixelData = b"".join(source.PixelData for source in sources)
    return image


def _shared(source: Dataset) -> Dataset:
    group = Dataset()
    group.PlaneOrientationSequence = item(ImageOrientationPatient=source.ImageOrientationPatient)
    group.PixelMeasuresSequence = item(PixelSpacing=source.PixelSpacing, SliceThickness=source.SliceThickness)
    group.CTImageFrameTypeSequence = item(
        FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], VolumeBasedCalculationTechnique="NONE"
    )
    group.CTReconstructionSequence = item(ConvolutionKernel=source.ConvolutionKernel)
    return group


def _of(source: Dataset) -> Dataset:
    group = Dataset()
    group.PlanePositionSequence = item(ImagePositionPatient=source.ImagePositionPatient)
    group.FrameContentSequence = item(
        FrameAcquisitionNumber=int(source.AcquisitionNumber),
        FrameAcquisitionDateTime=f"{source.AcquisitionDate}{source.AcquisitionTime}.5+0100",
    )
    group.PixelValueTransformationSequence = item(
        RescaleSlope=source.RescaleSlope, RescaleIntercept=source.RescaleIntercept, RescaleType="HU"
    )
    return group
