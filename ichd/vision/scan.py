"""DICOM files of one series to a `HeadScan`: ordered, upright, in Hounsfield units."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ichd.domain.errors import NotAnalysable
from ichd.domain.geometry import Orientation, Vector, degrees_from_axial, dot, holes, slice_normal
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.vision.pixels import read_hu
from ichd.vision.slices import SliceHeader, read_header

Pixel = TypeVar("Pixel", bound=np.generic)

MAX_SLICES = 400

#: Closer than this along the normal is the same position; selection counts tenths of a millimetre as well.
_SAME_POSITION_MM = 0.05
#: Parallel within about one degree, as in selection.
_PARALLEL_COSINE = 0.9998
#: From here on "anterior up" has no meaning. Selection is stricter; this guards whoever calls without it.
_MAX_DEGREES_FROM_AXIAL = 45.0
_SPACING_TOLERANCE = 0.01


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
    was trained on.
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


def load_scan(files: Sequence[Path]) -> HeadScan:
    """Read the files of one series, in any order.

    Slices are ordered by position along their common normal, whatever their Instance Number. Of several at one position
    the one with the lowest Acquisition Number is kept, then the lowest Instance Number, then the lowest SOP Instance
    UID; the others are named in `notes`.

    Raises:
        NotAnalysable: NO_CT_IMAGES (no file), TOO_MANY_SLICES, NOT_AXIAL, INCONSISTENT_SERIES, and what `read_header`
            and `read_hu` raise.
    """
    if not files:
        raise NotAnalysable(Reason.NO_CT_IMAGES, "no file was given")
    headers = [read_header(path) for path in files]
    normal = _common_normal(headers)
    ordered, dropped = _in_order(headers, normal)
    if len(ordered) > MAX_SLICES:
        raise NotAnalysable(Reason.TOO_MANY_SLICES, f"{len(ordered)} positions, at most {MAX_SLICES}")
    first = ordered[0]
    upright = _upright(first.orientation)
    row_mm, column_mm = first.pixel_spacing_mm
    return HeadScan(
        hu_SHW=_read_volume(ordered, upright),
        z_mm=tuple(dot(h.position, normal) for h in ordered),
        sources=tuple((_source(h, normal),) for h in ordered),
        pixel_spacing_mm=(column_mm, row_mm) if upright.transposed else (row_mm, column_mm),
        study_instance_uid=first.study_instance_uid,
        series_instance_uid=first.series_instance_uid,
        upright=upright,
        notes=_notes(ordered, dropped, normal),
    )


def _source(header: SliceHeader, normal: Vector) -> SourceImage:
    return SourceImage(
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        z_mm=dot(header.position, normal),
    )


def _common_normal(headers: Sequence[SliceHeader]) -> Vector:
    """The slices' normal, to the head, once they are shown to belong together."""
    first = headers[0]
    normal = _normal(first)
    for what, values in (
        ("studies", {h.study_instance_uid for h in headers}),
        ("series", {h.series_instance_uid for h in headers}),
        ("image sizes", {(h.rows, h.columns) for h in headers}),
        ("frames of reference", {h.frame_of_reference_uid for h in headers if h.frame_of_reference_uid}),
    ):
        if len(values) > 1:
            raise NotAnalysable(Reason.INCONSISTENT_SERIES, f"{len(values)} {what}")
    if any(not _parallel(h.orientation, first.orientation) for h in headers):
        raise NotAnalysable(Reason.INCONSISTENT_SERIES, "slices are not parallel")
    for header in headers:
        if not np.allclose(header.pixel_spacing_mm, first.pixel_spacing_mm, rtol=_SPACING_TOLERANCE):
            raise NotAnalysable(Reason.INCONSISTENT_SERIES, "slices differ in Pixel Spacing")
    degrees = degrees_from_axial(normal)
    if degrees > _MAX_DEGREES_FROM_AXIAL:
        raise NotAnalysable(Reason.NOT_AXIAL, f"{degrees:.0f} degrees")
    return normal


def _normal(header: SliceHeader) -> Vector:
    normal = slice_normal(header.orientation)
    if normal is None:
        raise NotAnalysable(Reason.MISSING_GEOMETRY, header.path.name)
    return normal


def _parallel(a: Orientation, b: Orientation) -> bool:
    """Same rows and same columns: parallel planes whose images are turned against one another don't stack."""
    return dot(a[:3], b[:3]) > _PARALLEL_COSINE and dot(a[3:], b[3:]) > _PARALLEL_COSINE


def _in_order(headers: Sequence[SliceHeader], normal: Vector) -> tuple[list[SliceHeader], list[SliceHeader]]:
    """Kept slices, inferior first, and those dropped because their position was taken."""
    by_position = sorted(headers, key=lambda h: dot(h.position, normal))
    groups: list[list[SliceHeader]] = []
    for header in by_position:
        position = dot(header.position, normal)
        if groups and position - dot(groups[-1][0].position, normal) <= _SAME_POSITION_MM:
            groups[-1].append(header)
        else:
            groups.append([header])
    ranked = [
        sorted(group, key=lambda h: (h.acquisition_number, h.instance_number, h.sop_instance_uid)) for group in groups
    ]
    return [group[0] for group in ranked], [h for group in ranked for h in group[1:]]


def _upright(orientation: Orientation) -> Upright:
    """The turn after which columns run to the patient's left (+x) and rows to the back (+y)."""
    along_row, along_column = orientation[:3], orientation[3:]
    transposed = abs(along_row[0]) < abs(along_column[0])
    leftward, backward = (along_column, along_row) if transposed else (along_row, along_column)
    return Upright(transposed=transposed, flipped_rows=backward[1] < 0, flipped_columns=leftward[0] < 0)


def _read_volume(ordered: Sequence[SliceHeader], upright: Upright) -> NDArray[np.int16] | NDArray[np.float32]:
    """Decode into one array, slice by slice, so that no second copy of the scan ever exists."""
    first = ordered[0]
    rows, columns = (first.columns, first.rows) if upright.transposed else (first.rows, first.columns)
    volume: NDArray[np.int16] | NDArray[np.float32]
    if all(header.whole_hu for header in ordered):
        volume = np.empty((len(ordered), rows, columns), dtype=np.int16)
    else:
        volume = np.empty((len(ordered), rows, columns), dtype=np.float32)
    for index, header in enumerate(ordered):
        volume[index] = upright.apply(read_hu(header))
    return volume


def _notes(ordered: Sequence[SliceHeader], dropped: Sequence[SliceHeader], normal: Vector) -> tuple[Note, ...]:
    notes = []
    if dropped:
        uids = ", ".join(h.sop_instance_uid for h in dropped[:5]) + (", ..." if len(dropped) > 5 else "")
        notes.append(Note(remark=Remark.DUPLICATE_POSITIONS, detail=f"{len(dropped)}: {uids}"))
    for index, length_mm in holes([dot(h.position, normal) for h in ordered]):
        detail = f"{length_mm:.0f} mm between slices {index + 1} and {index + 2}"
        notes.append(Note(remark=Remark.SLICES_MISSING, detail=detail))
    tilt = degrees_from_axial(normal)
    if tilt > 1:
        notes.append(Note(remark=Remark.TILTED, detail=f"{tilt:.1f} degrees"))
    if any(h.monochrome1 for h in ordered):
        notes.append(Note(remark=Remark.INVERTED_DISPLAY))
    if any(h.padding_ignored for h in ordered):
        notes.append(Note(remark=Remark.PADDING_IGNORED))
    lossy = sum(h.lossy for h in ordered)
    if lossy:
        notes.append(Note(remark=Remark.LOSSY_COMPRESSION, detail=f"{lossy} of {len(ordered)}"))
    return tuple(notes)
