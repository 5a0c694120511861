"""What a series holds beside the stack that is read of it, and what a reader must know of that."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from ichd.domain.acquisitions import acquired
from ichd.domain.geometry import degrees_from_axial, parallel, slice_normal
from ichd.domain.image_kind import ImageKind, kind_of
from ichd.domain.note import Note, Remark
from ichd.domain.placed import is_placed, position_mm, positions_mm, slice_mm
from ichd.domain.study import InstanceFacts

#: A plane that leans more than this is another view of the patient, and no slice that an axial stack could miss.
_AXIAL_WITHIN_DEGREES = 30.0
#: A repeat holds this share of the other's places.
_REPEAT_FROM = 0.8
_ROUNDING_MM = 0.05

Images = Sequence[InstanceFacts]


def notes_beside(stack: Images, others: Iterable[Images]) -> list[Note]:
    """On the other groups of a series that could have been slices of the stack.

    Blood may be on them: IMAGES_LEFT_OUT. That is not said of a kernel or a reformat that shows what the stack shows,
    and a scan that was repeated is ACQUISITION_LEFT_OUT.
    """
    if not positions_mm(stack) or not _may_be_slices(stack):
        return []
    lost = repeated = 0
    for group in filter(_may_be_slices, others):
        shown = _shown(group, stack)
        if _another_picture(group, stack):
            lost += len(group) - shown
        elif _is_replaced(group, stack):
            repeated += shown
            lost += len(group) - shown
        else:
            lost += len(group)
    notes = []
    if repeated:
        detail = f"{_images(repeated)} not read, of another size"
        notes.append(Note(remark=Remark.ACQUISITION_LEFT_OUT, detail=detail))
    if lost:
        notes.append(Note(remark=Remark.IMAGES_LEFT_OUT, detail=f"{lost} beside {len(stack)} that were read"))
    return notes


def repeats_acquisition(a: Images, b: Images) -> bool:
    """Whether two groups are two acquisitions of one place with one kernel, as far as headers say it."""
    return (
        _times(a).isdisjoint(_times(b))
        and not _another_picture(a, b)
        and min(_share(a, b), _share(b, a)) >= _REPEAT_FROM
    )


def _is_replaced(group: Images, stack: Images) -> bool:
    """Whether the stack is a repeat of the group, or the group is the whole of a repeat that was not chosen.

    A part that was scanned later shows what is spoiled in the stack.
    """
    if not _times(group).isdisjoint(_times(stack)) or _share(group, stack) < _REPEAT_FROM:
        return False
    earlier = min(map(acquired, group)) < min(map(acquired, stack))
    return earlier or _share(stack, group) >= _REPEAT_FROM


def _may_be_slices(images: Images) -> bool:
    if kind_of(images[0]) not in (ImageKind.SLICE, ImageKind.REFORMAT):
        return False
    normal = slice_normal(images[0].image_orientation) if images[0].image_orientation else None
    return normal is None or degrees_from_axial(normal) <= _AXIAL_WITHIN_DEGREES


def _another_picture(group: Images, stack: Images) -> bool:
    """Made from the same data: by another kernel, or as a reformat of the slices."""
    kernels = {i.convolution_kernel for i in group}, {i.convolution_kernel for i in stack}
    return kind_of(group[0]) is not kind_of(stack[0]) or kernels[0].isdisjoint(kernels[1])


def _times(images: Images) -> set[tuple[str, int | None]]:
    return {(i.acquisition_datetime, i.acquisition_number) for i in images}


def _share(group: Images, stack: Images) -> float:
    return _shown(group, stack) / len(group)


def _shown(group: Images, stack: Images) -> int:
    """How many images of a group lie within a slice of the stack; none where their places can't be compared."""
    first, other = group[0], stack[0]
    a, b = first.image_orientation, other.image_orientation
    frames = {first.frame_of_reference_uid, other.frame_of_reference_uid} - {None}
    if len(frames) > 1 or first.patient_position != other.patient_position:
        return 0
    if not is_placed(first) or not is_placed(other) or a is None or b is None or not parallel(a, b):
        return 0
    places, reach = positions_mm(stack), slice_mm(stack) / 2 + _ROUNDING_MM
    count = 0
    for image in group:
        z_mm = position_mm(image)
        if z_mm is not None:
            at = bisect_left(places, z_mm)
            count += any(abs(place - z_mm) <= reach for place in places[max(at - 1, 0) : at + 1])
    return count


def _images(count: int) -> str:
    return "1 image was" if count == 1 else f"{count} images were"
