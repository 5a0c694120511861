"""Headers of slices to a stack: one behind the other along their common normal, whatever their numbers say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from ichd.domain.errors import NotAnalysable
from ichd.domain.geometry import Orientation, Vector, degrees_from_axial, dot, holes, slice_normal
from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.vision.slices import SliceHeader

#: Closer than this along the normal is the same position; selection counts tenths of a millimetre as well.
_SAME_POSITION_MM = 0.05
#: Parallel within about one degree, as in selection.
_PARALLEL_COSINE = 0.9998
#: From here on "anterior up" has no meaning. Selection is stricter; this guards whoever calls without it.
_MAX_DEGREES_FROM_AXIAL = 45.0
_SPACING_TOLERANCE = 0.01
#: Spacing that changes by more than a fifth is no rounding, and no scanner's jitter of a tenth of a millimetre either.
_UNEVEN, _JITTER_MM = 1.2, 0.15
#: Between two slices so much of the head is in neither; thin slices with small gaps are a protocol.
_GAP, _GAP_MM = 1.5, 3.0
_SUPINE = frozenset({"HFS", "FFS", ""})


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Slices of one series in order."""

    #: Inferior first.
    headers: tuple[SliceHeader, ...]
    #: Those whose position another one holds.
    dropped: tuple[SliceHeader, ...]
    #: To the head.
    normal: Vector

    @property
    def z_mm(self) -> tuple[float, ...]:
        """Positions along the normal, ascending."""
        return tuple(dot(header.position, self.normal) for header in self.headers)

    @property
    def thickness_mm(self) -> float | None:
        """The usual Slice Thickness; None where no slice says it."""
        said = [header.slice_thickness_mm for header in self.headers if header.slice_thickness_mm is not None]
        return median(said) if said else None


def stacked(headers: Sequence[SliceHeader]) -> Stack:
    """Slices ordered by position along their common normal.

    Of several at one position the latest is kept: by Acquisition Number, then Instance Number, then SOP Instance UID.
    Which slices make a stack is decided before, from facts that know the time as well (`ichd.domain`); what is
    checked here is that nobody gives others: pixels of other slices would be stacked all the same, and be read.

    Raises:
        NotAnalysable: NOT_AXIAL, INCONSISTENT_SERIES.
    """
    normal = _common_normal(headers)
    groups: list[list[SliceHeader]] = []
    for header in sorted(headers, key=lambda h: dot(h.position, normal)):
        position = dot(header.position, normal)
        if groups and position - dot(groups[-1][0].position, normal) <= _SAME_POSITION_MM:
            groups[-1].append(header)
        else:
            groups.append([header])
    ranked = [
        sorted(group, key=lambda h: (h.acquisition_number, h.instance_number, h.sop_instance_uid)) for group in groups
    ]
    return Stack(
        headers=tuple(group[-1] for group in ranked),
        dropped=tuple(header for group in ranked for header in group[:-1]),
        normal=normal,
    )


def notes_on(stack: Stack) -> Iterator[Note]:
    """What headers and positions of a stack give a reader to know."""
    z_mm = stack.z_mm
    if stack.dropped:
        yield Note(remark=Remark.DUPLICATE_POSITIONS, detail=str(len(stack.dropped)))
    missing = dict([*holes(z_mm), *_unseen(stack)])
    if 2 * len(missing) > len(z_mm) - 1:
        usual = median(above - below for below, above in pairwise(z_mm))
        detail = f"slices of {stack.thickness_mm or 0:.3g} mm every {usual:.3g} mm"
        yield Note(remark=Remark.SLICES_MISSING, detail=detail)
    else:
        for index, length_mm in sorted(missing.items()):
            detail = f"{length_mm:.0f} mm between {z_mm[index]:.0f} and {z_mm[index + 1]:.0f} mm"
            yield Note(remark=Remark.SLICES_MISSING, detail=detail)
    steps = [above - below for index, (below, above) in enumerate(pairwise(z_mm)) if index not in missing]
    if steps and max(steps) > _UNEVEN * min(steps) + _JITTER_MM:
        yield Note(remark=Remark.UNEVEN_SPACING, detail=f"{min(steps):.1f} to {max(steps):.1f} mm")
    tilt = degrees_from_axial(stack.normal)
    if tilt > 1:
        yield Note(remark=Remark.TILTED, detail=f"{tilt:.1f} degrees")
    yield from _notes_on_headers(stack.headers)


def _unseen(stack: Stack) -> Iterator[tuple[int, float]]:
    """Steps that leave more between two slices than a bleed needs, by the thickness of the slices themselves.

    What is missing everywhere, every second slice, shows in no comparison of steps.
    """
    for index, (below, above) in enumerate(pairwise(stack.headers)):
        if below.slice_thickness_mm is None or above.slice_thickness_mm is None:
            continue
        thick_mm = max(below.slice_thickness_mm, above.slice_thickness_mm)
        step_mm = dot(above.position, stack.normal) - dot(below.position, stack.normal)
        if step_mm > _GAP * thick_mm and step_mm - thick_mm > _GAP_MM:
            yield index, step_mm


def _notes_on_headers(headers: Sequence[SliceHeader]) -> Iterator[Note]:
    lying = sorted({header.patient_position for header in headers} - _SUPINE)
    if lying:
        # Feet first is no matter of gravity. Blood that settles, and air that rises, are where a reader looks for them
        # only while he knows that the patient was prone, or on a side.
        yield Note(remark=Remark.NOT_SUPINE, detail=", ".join(lying))
    frames = sum(header.frame_number is not None for header in headers)
    if frames:
        images = len({header.path for header in headers})
        yield Note(remark=Remark.FRAMES_READ, detail=f"{frames} frames, {images} files")
    if any(header.monochrome1 for header in headers):
        yield Note(remark=Remark.INVERTED_DISPLAY)
    if any(header.padding_ignored for header in headers):
        yield Note(remark=Remark.PADDING_IGNORED)
    lossy = sum(header.lossy for header in headers)
    if lossy:
        yield Note(remark=Remark.LOSSY_COMPRESSION, detail=f"{lossy} of {len(headers)}")


def _common_normal(headers: Sequence[SliceHeader]) -> Vector:
    """The slices' normal, to the head, once they are shown to belong together."""
    first = headers[0]
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
    normal = slice_normal(first.orientation)
    if normal is None:
        raise NotAnalysable(Reason.MISSING_GEOMETRY, first.path.name)
    degrees = degrees_from_axial(normal)
    if degrees > _MAX_DEGREES_FROM_AXIAL:
        raise NotAnalysable(Reason.NOT_AXIAL, f"{degrees:.0f} degrees")
    return normal


def _parallel(a: Orientation, b: Orientation) -> bool:
    """Same rows and same columns: parallel planes whose images are turned against one another don't stack."""
    return dot(a[:3], b[:3]) > _PARALLEL_COSINE and dot(a[3:], b[3:]) > _PARALLEL_COSINE
