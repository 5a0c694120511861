"""The DICOM images of one study to int16 HU, and what could not be used of them.

Shapes: S slices, H W pixels, C = 6 classes.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.config import disable_value_validation

from ichd.domain.errors import NotAnalysable, Transient, UserError
from ichd.domain.reason import Reason
from ichd.vision.pixels import read_pixels
from ichd.vision.scan import upright_for
from ichd.vision.slices import INT16_MAX, read_header
from training.packed.indexed import IndexedImage, IndexedStudy
from training.packed.study import UNKNOWN

#: The daemon's words for these tell a sender what to do.
_WORDS = {
    Reason.FILE_DAMAGED: "the file is missing, damaged or cut short",
    Reason.PIXELS_UNREADABLE: "the pixels can't be decoded",
    Reason.UNSUPPORTED_TRANSFER_SYNTAX: "nothing here decodes its transfer syntax",
}


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """An image, or a whole study, that is not in the packed data."""

    study_id: str
    #: None where it is the study.
    image_id: str | None
    #: For people, as "pixels unreadable: 0001.dcm ...".
    reason: str
    #: The same without what differs from image to image, to count by.
    kind: str


@dataclass(frozen=True, kw_only=True)
class StudyImages:
    """What a study's images come to: slices ascending, upright, thin ones averaged."""

    hu_SHW: NDArray[np.int16]
    image_ids: tuple[tuple[str, ...], ...]
    z_mm: tuple[float, ...]
    #: Between rows, between columns, of the upright images.
    pixel_spacing_mm: tuple[float, float]
    #: 1, 0 or UNKNOWN, int8 [S, C]: of a slab, the maximum over its images.
    labels_SC: NDArray[np.int8]
    #: Images whose Rescale Intercept did not fit (`ichd.vision.repair`), and those whose HU were not whole.
    repaired: int
    rounded: int


@dataclass(frozen=True, kw_only=True)
class _Read:
    image: IndexedImage
    #: int16 where HU are whole, else float32.
    hu_HW: NDArray[Any]
    spacing_mm: tuple[float, float]
    repaired: bool


def read_images(study: IndexedStudy) -> tuple[StudyImages | None, tuple[LeftOut, ...]]:
    """Read what can be read; None where that is nothing.

    Images are those of `ichd.vision.scan.load_scan`: repaired, clamped at -1024 HU, row 0 anterior, column 0 the
    patient's right; a slab is the rounded mean of its images. HU that are not whole are rounded and counted. Of images
    that differ in size the most frequent one is kept.

    Raises:
        UserError: a disk fails or is away: the rest of the data must not be left out for it.
    """
    left_out: list[LeftOut] = []
    # Data sets have identifiers that are no UIDs, and pydicom would warn of each.
    with disable_value_validation():
        read = list(_read(study, left_out))
    kept = list(_of_one_size(study, read, left_out))
    if not kept:
        left_out.append(_leave_out(study, None, "no image of the study can be used"))
        return None, tuple(left_out)
    slabs = [list(slab) for _, slab in groupby(kept, key=lambda one: one.image.slab)]
    return (
        StudyImages(
            hu_SHW=np.stack([_mean([one.hu_HW for one in slab]) for slab in slabs]),
            image_ids=tuple(tuple(one.image.image_id for one in slab) for slab in slabs),
            z_mm=tuple(float(np.mean([one.image.z_mm for one in slab])) for slab in slabs),
            pixel_spacing_mm=kept[0].spacing_mm,
            labels_SC=np.stack(
                [highest(np.array([one.image.labels for one in slab], dtype=np.int8)) for slab in slabs]
            ),
            repaired=sum(one.repaired for one in kept),
            rounded=sum(one.hu_HW.dtype != np.int16 for one in kept),
        ),
        tuple(left_out),
    )


def highest(labels_NC: NDArray[np.int8]) -> NDArray[np.int8]:
    """1 where one of several has a class, 0 where none has, UNKNOWN where that can't be told; int8 [C]."""
    present_C, absent_C = (labels_NC == 1).any(axis=0), (labels_NC == 0).all(axis=0)
    return np.where(present_C, 1, np.where(absent_C, 0, UNKNOWN)).astype(np.int8)


def _read(study: IndexedStudy, left_out: list[LeftOut]) -> Iterator[_Read]:
    for image in study.images:
        path = Path(image.path)
        try:
            header = read_header(path)
            pixels = read_pixels(header)
        except NotAnalysable as error:
            # One file may be gone; where its folder is, the whole data set is not there.
            if not path.parent.is_dir():
                raise UserError(f"{path.parent} is not there; bring it back and run the same command again") from error
            left_out.append(_leave_out(study, image, _WORDS.get(error.reason, error.reason.meaning), error.detail))
            continue
        except Transient as error:
            raise UserError(
                f"{path} can't be read ({error.detail}); see to the disk and run the same command again, "
                "it goes on where it stopped"
            ) from error
        upright = upright_for(header.orientation)
        row_mm, column_mm = header.pixel_spacing_mm
        yield _Read(
            image=image,
            hu_HW=upright.apply(pixels.hu_HW),
            spacing_mm=(column_mm, row_mm) if upright.transposed else (row_mm, column_mm),
            repaired=pixels.repaired,
        )


def _of_one_size(study: IndexedStudy, read: Sequence[_Read], left_out: list[LeftOut]) -> Iterator[_Read]:
    sizes = Counter(one.hu_HW.shape for one in read)
    usual = max(sizes, key=lambda size: (sizes[size], size), default=(0, 0))
    for one in read:
        if one.hu_HW.shape == usual:
            yield one
            continue
        size, others = ("x".join(map(str, shape)) for shape in (one.hu_HW.shape, usual))
        left_out.append(_leave_out(study, one.image, "another size than the study's other images", f"{size}, {others}"))


def _mean(images: Sequence[NDArray[Any]]) -> NDArray[np.int16]:
    """The mean in HU, rounded as `ichd.vision.scan` rounds it; one image is itself."""
    if len(images) == 1:
        mean_HW = images[0]
    else:
        sum_HW = images[0].astype(np.float32)
        for hu_HW in images[1:]:
            sum_HW += hu_HW
        mean_HW = sum_HW / np.float32(len(images))
    rounded_HW = mean_HW if mean_HW.dtype == np.int16 else np.minimum(np.rint(mean_HW), INT16_MAX)
    return np.asarray(rounded_HW, dtype=np.int16)


def _leave_out(study: IndexedStudy, image: IndexedImage | None, kind: str, detail: str = "") -> LeftOut:
    return LeftOut(
        study_id=study.study_id,
        image_id=None if image is None else image.image_id,
        reason=f"{kind} ({detail})" if detail else kind,
        kind=kind,
    )
