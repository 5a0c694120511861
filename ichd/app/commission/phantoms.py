"""The studies that are sent: a synthetic head a kind of bleed, under UIDs that nobody ever saw."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from ichd.app.plain import plain_recipe
from ichd.phantom import BLEED_KINDS, PhantomRecipe, render, write_series

#: Whoever finds them in an archive knows by the name what they are, and that they can go.
PATIENT_NAME = "ICHD^COMMISSIONING"
PATIENT_ID_PREFIX = "ICHD-COMMISSIONING"
#: Even, whole and plain, so that nothing but the route is in question; the seed draws a usual kernel.
_SEED = 7


def _recipe(bleed: str | None) -> PhantomRecipe:
    return PhantomRecipe(
        seed=_SEED,
        bleeds=(bleed,) if bleed else (),
        slices=28,
        voxel_mm=2.0,
        fov_mm=235.0,
        tilt_deg=0.0,
        thickness_mm=5.0,
    )


@dataclass(frozen=True, kw_only=True)
class PhantomStudy:
    """A phantom on disk, as a scanner would send it, and what is true of it."""

    #: None of a healthy head.
    bleed: str | None
    folder: Path
    study_uid: str
    patient_id: str
    accession_number: str
    #: SOP Instance UIDs, most inferior first.
    images: tuple[str, ...]
    #: Of those that show blood of any kind, its area on each, mm².
    blood_mm2: Mapping[str, float]
    #: [S, H, W], HU.
    hu_SHW: NDArray[np.int16]
    #: bool [S, H, W].
    blood_SHW: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """The kind in a word."""
        return self.bleed or "healthy"


def make_study(bleed: str | None, folder: Path, *, number: int, now: datetime) -> PhantomStudy:
    """Render and write the `number`th study of a run that began at `now`.

    Raises:
        OSError: the folder can't be written.
    """
    phantom = render(plain_recipe(_recipe(bleed)))
    stamp = now.astimezone().strftime("%y%m%d%H%M%S")
    patient_id, accession_number = f"{PATIENT_ID_PREFIX}-{stamp}", f"C{stamp}-{number}"
    files = write_series(
        phantom, folder, patient_name=PATIENT_NAME, patient_id=patient_id, accession_number=accession_number
    )
    study_uid, images = _rename(files, now)
    blood_SHW = phantom.label_SHW > 0
    areas_S = blood_SHW.sum(axis=(1, 2)) * phantom.pixel_spacing_mm**2
    return PhantomStudy(
        bleed=bleed,
        folder=folder,
        study_uid=study_uid,
        patient_id=patient_id,
        accession_number=accession_number,
        images=images,
        blood_mm2={uid: float(area) for uid, area in zip(images, areas_S, strict=True) if area},
        hu_SHW=phantom.hu_SHW,
        blood_SHW=blood_SHW,
    )


def chosen(kinds: str) -> tuple[str | None, ...]:
    """What "all", "none" or a list with commas means; a healthy head is always among them.

    Raises:
        ValueError: with the kind that is unknown.
    """
    if kinds == "all":
        return (None, *BLEED_KINDS)
    asked = [] if kinds == "none" else [kind.strip() for kind in kinds.split(",")]
    for kind in asked:
        if kind not in BLEED_KINDS:
            raise ValueError(kind)
    return (None, *asked)


def _rename(files: list[Path], now: datetime) -> tuple[str, tuple[str, ...]]:
    """Give new UIDs and today's date: a phantom that was sent before would be the same study, with its old report."""
    fresh = {
        keyword: generate_uid(None) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    }
    local = now.astimezone()
    images = []
    for path in files:
        image = pydicom.dcmread(path)
        for keyword, uid in fresh.items():
            setattr(image, keyword, uid)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid(None)
        for what in ("Study", "Series", "Acquisition", "Content"):
            setattr(image, f"{what}Date", local.strftime("%Y%m%d"))
            setattr(image, f"{what}Time", local.strftime("%H%M%S"))
        image.QualityControlSubject = "YES"
        image.save_as(path)
        images.append(str(image.SOPInstanceUID))
    return str(fresh["StudyInstanceUID"]), tuple(images)
