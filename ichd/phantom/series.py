"""A phantom on disk: a CT Image Storage series as a scanner would export it, and its truth beside it."""

import datetime
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from .recipe import BLEED_KINDS
from .rendering import VISIBLE_MM2, Phantom

#: What DICOM phantoms say they were made by.
PHANTOM_MAKER = "ichd phantom"

_CLASSES = ("any", *BLEED_KINDS)
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "phantom.ichd")
_INTERCEPT = -1024
#: a made-up study day, so that equal recipes give equal bytes
_DAY = datetime.date(2020, 1, 1)


def derived_uid(phantom: Phantom, *parts: object) -> str:
    """A UID under 2.25 (PS3.5 B.2) that follows from recipe and parts alone."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, repr((phantom.recipe, parts))).int}"


def write_series(
    phantom: Phantom,
    folder: Path,
    *,
    patient_name: str = "Phantom^Synthetic",
    patient_id: str | None = None,
    accession_number: str = "",
    series_number: int = 2,
) -> list[Path]:
    """Write one file a slice, named in slice order, and return their paths, most inferior first.

    Every header says that the images are synthetic. The same recipe and arguments give the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    common = _common(phantom, patient_name, patient_id, accession_number, series_number)
    paths = []
    for index in range(phantom.hu_SHW.shape[0]):
        path = folder / f"{index + 1:03d}.dcm"
        dataset = _slice(phantom, common, index)
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def write_truth(phantom: Phantom, folder: Path) -> Path:
    """Write `truth.json` and `labels.npz` (`label_SHW`, bit k = BLEED_KINDS[k]); returns the path of the former."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = {
        "synthetic": True,
        "seed": phantom.recipe.seed,
        "bleeds": list(phantom.recipe.bleeds),
        "mimics": list(phantom.recipe.mimics),
        "study_uid": derived_uid(phantom, "study"),
        "series_uid": derived_uid(phantom, "series"),
        "classes": list(_CLASSES),
        "visible_from_mm2": VISIBLE_MM2,
        "volumes_ml": {kind: round(ml, 3) for kind, ml in phantom.volume_ml().items()},
        "scan": {name: bool(column.any()) for name, column in zip(_CLASSES, phantom.truth.T, strict=True)},
        "slices": [
            {
                "sop_uid": derived_uid(phantom, "slice", index),
                "z_mm": round(float(phantom.z_mm[index]), 3),
                "present": {name: bool(flag) for name, flag in zip(_CLASSES, row, strict=True)},
            }
            for index, row in enumerate(phantom.truth)
        ],
    }
    path = folder / "truth.json"
    path.write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    np.savez_compressed(folder / "labels.npz", label_SHW=phantom.label_SHW, kinds=np.asarray(BLEED_KINDS))
    return path


def _common(
    phantom: Phantom, patient_name: str, patient_id: str | None, accession_number: str, series_number: int
) -> dict[str, Any]:
    """What all slices share."""
    machine, seed = phantom.machine, phantom.recipe.seed
    count, rows, _ = phantom.hu_SHW.shape
    day, clock = _DAY.strftime("%Y%m%d"), f"{8 + seed % 12:02d}{seed % 60:02d}00"
    common: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "SOPClassUID": CTImageStorage,
        "StudyDate": day, "SeriesDate": day, "AcquisitionDate": day, "ContentDate": day,
        "StudyTime": clock, "SeriesTime": clock, "AcquisitionTime": clock, "ContentTime": clock,
        "AccessionNumber": accession_number,
        "Modality": "CT",
        "Manufacturer": PHANTOM_MAKER,
        "ReferringPhysicianName": "",
        "StudyDescription": "Synthetic phantom, not a patient",
        "SeriesDescription": f"Head {phantom.slice_thickness_mm[0]:.1f} mm, synthetic",
        "ManufacturerModelName": "ichd phantom",
        "PatientName": patient_name,
        "PatientID": patient_id or f"PHANTOM-{seed}",
        "PatientBirthDate": "",
        "PatientSex": "O",
        "PatientAge": f"{int(phantom.age):03d}Y",
        "PatientComments": "Synthetic image of no living or dead person",
        "BodyPartExamined": "HEAD",
        "KVP": str(machine.kvp),
        "DataCollectionDiameter": "250",
        "DeviceSerialNumber": "0",
        "SoftwareVersions": "ichd phantom 1",
        "ProtocolName": "Synthetic head",
        "ReconstructionDiameter": _ds(phantom.pixel_spacing_mm * rows),
        "GantryDetectorTilt": _ds(phantom.tilt_deg),
        "TableHeight": "150",
        "RotationDirection": "CW",
        "ExposureTime": "1000",
        "XRayTubeCurrent": "200",
        "Exposure": "200",
        "FilterType": "HEAD",
        "ConvolutionKernel": machine.kernel,
        "PatientPosition": "HFS",
        "StudyInstanceUID": derived_uid(phantom, "study"),
        "SeriesInstanceUID": derived_uid(phantom, "series"),
        "FrameOfReferenceUID": derived_uid(phantom, "frame"),
        "StudyID": str(seed % 10**8),
        "SeriesNumber": str(series_number),
        "AcquisitionNumber": "1",
        "PositionReferenceIndicator": "OM",
        "ImagesInAcquisition": str(count),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows, "Columns": rows,
        "PixelSpacing": [_ds(phantom.pixel_spacing_mm)] * 2,
        "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1,
        "WindowCenter": "40", "WindowWidth": "80",
        "RescaleIntercept": str(_INTERCEPT), "RescaleSlope": "1", "RescaleType": "HU",
    }  # fmt: skip
    row_step = phantom.scan.row_step
    common["ImageOrientationPatient"] = ["1", "0", "0", "0", _ds(row_step[1]), _ds(row_step[2])]
    return common


def _slice(phantom: Phantom, common: dict[str, Any], index: int) -> Dataset:
    dataset = Dataset()
    for keyword, value in common.items():
        setattr(dataset, keyword, value)
    uid = derived_uid(phantom, "slice", index)
    z = float(phantom.z_mm[index])
    dataset.SOPInstanceUID = uid
    dataset.InstanceNumber = str(index + 1)
    dataset.SliceThickness = _ds(phantom.slice_thickness_mm[index])
    dataset.SliceLocation = _ds(z)
    dataset.ImagePositionPatient = [_ds(v) for v in first_pixel_mm(phantom, index)]
    padding = phantom.machine.padding
    if padding is not None:
        dataset.add_new(0x00280120, "SS", padding - _INTERCEPT)  # PixelPaddingValue, stored units, signed
    dataset.PixelData = (phantom.hu_SHW[index].astype(np.int32) - _INTERCEPT).astype("<i2").tobytes()
    dataset["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    return dataset


def first_pixel_mm(phantom: Phantom, index: int) -> tuple[float, float, float]:
    """Patient position (LPS) of the middle of pixel (0, 0): the table moves along z, the plane leans by the tilt."""
    half = (phantom.recipe.rows - 1) / 2.0 * phantom.pixel_spacing_mm
    along_row, along_column = phantom.scan.centre[1] - half, phantom.scan.centre[0] - half
    step = phantom.scan.row_step
    return (
        along_row,
        along_column * float(step[1]),
        float(phantom.z_mm[index]) + along_column * float(step[2]),
    )


def _ds(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2)."""
    return f"{float(value):.6f}".rstrip("0").rstrip(".")[:16]
