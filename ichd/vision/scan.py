"""DICOM files of one series to a `HeadScan`: ordered, upright, in Hounsfield units."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ichd.domain.errors import NotAnalysable
from ichd.domain.geometry import Orientation
from ichd.domain.image_file import AnyImage
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.vision.pixels import read_pixels
from ichd.vision.slabs import slabs_of
from ichd.vision.slices import SliceHeader, read_headers
from ichd.vision.stack import Stack, notes_on, stacked

Pixel = TypeVar("Pixel", bound=np.generic)

#: No more is read into memory; thin slices are averaged before they count.
MAX_SLICES = 400
#: Half a metre of half a millimetre.
MAX_POSITIONS = 1000


@dataclass(frozen=True, kw_only=True)
class SliceSource:
    """Where one slice is stored."""

    #: With its checksum where somebody vouches for it.
    path: AnyImage
    #: Of the slice in a multi-frame image, counted from 1; None where the image is the slice.
    frame_number: int | None = None


@dataclass(frozen=True, kw_only=True)
class Upright:
    """How stored images were turned into the canonical orientation: first transposed, then flipped."""

    transposed: bool
    flipped_rows: bool
    flipped_columns: bool

    def apply(self, image_HW: NDArray[Pixel]) -> NDArray[Pixel]:
        """The stored image with row 0 anterior and column 0 on the patient's right; a view."""
        turned = image_HW.T if self.transposed else image_HW
        return turned[:: -1 if self.flipped_rows else 1, :: -1 if self.flipped_columns else 1]


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """A stored image, or one frame of it, that a slice was read from."""

    sop_instance_uid: str
    sop_class_uid: str
    #: Along the slice normal, mm.
    z_mm: float
    #: Counted from 1; None where the image has one frame.
    frame_number: int | None = None


@dataclass(frozen=True, kw_only=True)
class HeadScan:
    """The slices of one series as a model reads them.

    Nothing is resampled: a tilted gantry stays tilted and uneven spacing stays uneven, as in what the published model
    was trained on. Thin slices are averaged to slabs (`ichd.vision.slabs`).
    """

    #: [S, H, W], HU, at least -1024. Slice 0 is the most inferior, row 0 anterior, column 0 the patient's right.
    #: int16 where every slice rescales to whole HU (nearly every scanner: 320 slices of 512x512 take 168 MB instead of
    #: 336), float32 otherwise.
    hu_SHW: NDArray[np.int16] | NDArray[np.float32]
    #: [S], along the slice normal, ascending.
    z_mm: tuple[float, ...]
    #: [S], what each slice was read from, inferior first; several where thin slices were averaged.
    sources: tuple[tuple[SourceImage, ...], ...]
    #: mm between rows, mm between columns, of the upright images.
    pixel_spacing_mm: tuple[float, float]
    study_instance_uid: str
    series_instance_uid: str
    #: From stored images to `hu_SHW`; drawing on a source image needs the way back.
    upright: Upright
    #: What was noticed and survived.
    notes: tuple[Note, ...] = ()


def load_scan(slices: Sequence[SliceSource]) -> HeadScan:
    """Read the slices of one series, in any order; of several at one position one is read (`ichd.vision.stack`).

    Raises:
        NotAnalysable: NO_CT_IMAGES (no slice), TOO_MANY_SLICES, and what `read_headers`, `stacked` and `read_pixels`
            raise.
        Transient: STORE_UNAVAILABLE, the disk fails.
    """
    if not slices:
        raise NotAnalysable(Reason.NO_CT_IMAGES, "no slice was given")
    stack = stacked(_headers(slices))
    z_mm = stack.z_mm
    slabs = slabs_of(z_mm, stack.thickness_mm)
    _require_few(len(stack.headers), MAX_POSITIONS)
    _require_few(len(slabs), MAX_SLICES)
    first = stack.headers[0]
    upright = upright_for(first.orientation)
    hu_SHW, repaired = _read_volume(stack, slabs, upright)
    sources = [_source(header, z) for header, z in zip(stack.headers, z_mm, strict=True)]
    row_mm, column_mm = first.pixel_spacing_mm
    return HeadScan(
        hu_SHW=hu_SHW,
        z_mm=tuple(float(np.mean(z_mm[slab.start : slab.stop])) for slab in slabs),
        sources=tuple(tuple(sources[slab.start : slab.stop]) for slab in slabs),
        pixel_spacing_mm=(column_mm, row_mm) if upright.transposed else (row_mm, column_mm),
        study_instance_uid=first.study_instance_uid,
        series_instance_uid=first.series_instance_uid,
        upright=upright,
        notes=(*notes_on(stack), *_notes_on_reading(stack, slabs, repaired)),
    )


def _headers(slices: Sequence[SliceSource]) -> list[SliceHeader]:
    """Each file is parsed once, however many of its frames are read."""
    frames: dict[AnyImage, list[int | None]] = {}
    for source in slices:
        frames.setdefault(source.path, []).append(source.frame_number)
    return [header for image, numbers in frames.items() for header in read_headers(image, tuple(numbers))]


def _require_few(count: int, most: int) -> None:
    if count > most:
        raise NotAnalysable(Reason.TOO_MANY_SLICES, f"{count} positions, at most {most}")


def _source(header: SliceHeader, z_mm: float) -> SourceImage:
    return SourceImage(
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        z_mm=z_mm,
        frame_number=header.frame_number,
    )


def upright_for(orientation: Orientation) -> Upright:
    """The turn after which columns run to the patient's left (+x) and rows to the back (+y)."""
    along_row, along_column = orientation[:3], orientation[3:]
    transposed = abs(along_row[0]) < abs(along_column[0])
    leftward, backward = (along_column, along_row) if transposed else (along_row, along_column)
    return Upright(transposed=transposed, flipped_rows=backward[1] < 0, flipped_columns=leftward[0] < 0)


def _read_volume(
    stack: Stack, slabs: Sequence[range], upright: Upright
) -> tuple[NDArray[np.int16] | NDArray[np.float32], int]:
    """Decode into one array, so that no second copy of the scan ever exists; and in how many slices HU were repaired.

    A slab is summed up while its slices are decoded: three hundred thin ones need the room of thirty, and of one more.
    """
    first = stack.headers[0]
    rows, columns = (first.columns, first.rows) if upright.transposed else (first.rows, first.columns)
    volume: NDArray[np.int16] | NDArray[np.float32]
    if all(header.whole_hu for header in stack.headers):
        volume = np.empty((len(slabs), rows, columns), dtype=np.int16)
    else:
        volume = np.empty((len(slabs), rows, columns), dtype=np.float32)
    repaired = 0
    for row, slab in enumerate(slabs):
        mean_HW, more = _mean(stack.headers[slab.start : slab.stop])
        # A slice is whole HU already; a mean is rounded as a scanner rounds it.
        volume[row] = upright.apply(np.rint(mean_HW) if volume.dtype == np.int16 and len(slab) > 1 else mean_HW)
        repaired += more
    return volume, repaired


def _mean(headers: Sequence[SliceHeader]) -> tuple[NDArray[np.int16] | NDArray[np.float32], int]:
    """The mean of some slices in HU, as stored, and how many of them were repaired."""
    pixels = read_pixels(headers[0])
    if len(headers) == 1:
        return pixels.hu_HW, int(pixels.repaired)
    sum_HW, repaired = pixels.hu_HW.astype(np.float32), int(pixels.repaired)
    for header in headers[1:]:
        pixels = read_pixels(header)
        sum_HW += pixels.hu_HW
        repaired += pixels.repaired
    return sum_HW / np.float32(len(headers)), repaired


def _notes_on_reading(stack: Stack, slabs: Sequence[range], repaired: int) -> Iterator[Note]:
    count = len(stack.headers)
    if len(slabs) < count:
        usual = np.median(np.diff(stack.z_mm))
        members = np.median([len(slab) for slab in slabs])
        detail = f"{count} slices every {usual:.2g} mm to {len(slabs)}, {members:.0f} in each"
        yield Note(remark=Remark.THIN_SLICES_AVERAGED, detail=detail)
    if repaired:
        yield Note(remark=Remark.HU_REPAIRED, detail=f"{repaired} of {count} slices")
