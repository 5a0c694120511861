"""The stored image of a key slice, as far as objects that point into it need to know it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.coding import Code

from ichd.domain.geometry import Orientation, Vector
from ichd.domain.heatmap import HeatMap
from ichd.report.items import coded

_PROCESSED = Code("121322", "DCM", "Source image for image processing operation")


@dataclass(frozen=True, kw_only=True)
class KeyImage:
    """Where an image lies, and how its stored values become HU. Values of its header, read and checked before."""

    sop_instance_uid: str
    sop_class_uid: str
    #: Of the slice in a multi-frame image, counted from 1; None where the image is the slice.
    frame_number: int | None
    rows: int
    columns: int
    #: LPS, mm, centre of the first pixel.
    position: Vector
    orientation: Orientation
    #: mm between rows, mm between columns.
    pixel_spacing_mm: tuple[float, float]
    #: Nominal; None where it is not said.
    slice_thickness_mm: float | None
    #: Empty where it is not said.
    frame_of_reference_uid: str
    slope: float
    intercept: float

    @property
    def frame(self) -> tuple[str, int | None]:
        """Which image, and which frame of it."""
        return self.sop_instance_uid, self.frame_number


@dataclass(frozen=True, kw_only=True)
class HeatField:
    """A heat map on the grid of its image."""

    heat: HeatMap
    #: [rows, columns] of the stored image, 0 to 1.
    heat_HW: NDArray[np.float32]
    image: KeyImage


@dataclass(frozen=True, kw_only=True)
class DisplayWindow:
    """A display window, HU."""

    name: str
    level: int
    width: int


def references(images: Sequence[KeyImage]) -> list[Dataset]:
    """Items of a Referenced Image Sequence: each image once, with the frames that are meant (PS3.3 table 10-3)."""
    frames: dict[tuple[str, str], list[int]] = {}
    for image in images:
        numbers = frames.setdefault((image.sop_class_uid, image.sop_instance_uid), [])
        if image.frame_number is not None and image.frame_number not in numbers:
            numbers.append(image.frame_number)
    return [reference(*identity, numbers) for identity, numbers in frames.items()]


def reference(sop_class_uid: str, sop_instance_uid: str, frame_numbers: Sequence[int] = ()) -> Dataset:
    """One item of it."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    if frame_numbers:
        item.ReferencedFrameNumber = list(frame_numbers)
    return item


def source_item(sop_class_uid: str, sop_instance_uid: str, frame_numbers: Sequence[int] = ()) -> Dataset:
    """One item of a Source Image Sequence: what another image was made from (PS3.3 table 10-3, PS3.16 CID 7202)."""
    item = reference(sop_class_uid, sop_instance_uid, frame_numbers)
    item.PurposeOfReferenceCodeSequence = [coded(_PROCESSED)]
    return item


def decimal(value: float) -> str:
    """A number in the at most 16 characters of a Decimal String, far finer than scanners write theirs (PS3.5 6.2)."""
    return f"{value:.10g}"
