"""From a series to stacks: images that can be read as the slices of one scan.

A Series is what a scanner calls so: two acquisitions of one head when the patient moved, a scout among axial slices, a
head in two halves. A stack is what a reader needs: one kind of picture, parallel planes, one pixel grid, one frame of
reference, each place once.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ichd.domain.acquisitions import Pass, passes_of
from ichd.domain.geometry import degrees_from_axial, dot, slice_normal
from ichd.domain.image_kind import ImageKind, kind_of
from ichd.domain.note import Note, Remark
from ichd.domain.placed import is_placed, positions_mm
from ichd.domain.study import InstanceFacts, SeriesFacts

#: Parallel within about one degree.
_PARALLEL_COSINE = 0.9998
_SAME_SPACING = 0.01
#: A plane that leans more than this is another view of the patient, and no slice that an axial stack could miss.
_AXIAL_WITHIN_DEGREES = 30.0


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Images of one series that are read together, or not at all."""

    series_instance_uid: str
    instances: tuple[InstanceFacts, ...]
    kind: ImageKind
    #: Counted from 1 in the order of acquisition; None where the series is one stack.
    number: int | None = None
    #: Of several complete acquisitions of the same place: which one, and of how many.
    acquisition: tuple[int, int] = (1, 1)
    #: What was left out of the series to make this stack.
    notes: tuple[Note, ...] = ()


def stacks_of(series: SeriesFacts) -> tuple[Stack, ...]:
    """The stacks that a series falls into, in the order of acquisition; nearly always one.

    The same images in any order give the same stacks, and every image is in one of them unless a repeat of its place
    was taken instead: then a note says so.
    """
    groups = _consistent_groups(series.instances)
    stacks = []
    for group in groups:
        kind = kind_of(group[0])
        for one in passes_of(group) if kind is ImageKind.SLICE else [Pass(instances=tuple(group))]:
            notes = (*one.notes, *_left_out(one.instances, kind, groups))
            stacks.append(
                Stack(
                    series_instance_uid=series.series_instance_uid,
                    instances=one.instances,
                    kind=kind,
                    acquisition=one.acquisition,
                    notes=notes,
                )
            )
    if len(stacks) == 1:
        return tuple(stacks)
    stacks.sort(key=lambda s: min(map(_acquired, s.instances)))
    return tuple(replace(stack, number=number) for number, stack in enumerate(stacks, 1))


def _acquired(image: InstanceFacts) -> tuple[str, int, int, str, int]:
    return (
        image.acquisition_datetime,
        image.acquisition_number or 0,
        image.instance_number or 0,
        image.sop_instance_uid,
        image.frame_number or 0,
    )


def _consistent_groups(images: Sequence[InstanceFacts]) -> list[list[InstanceFacts]]:
    """Images of one kind whose planes are parallel and whose pixels have one grid; those without a place apart."""
    frames = Counter(i.frame_of_reference_uid for i in images if i.frame_of_reference_uid)
    # An image that names none is where most others are: a frame of reference is forgotten more often than mixed.
    usual = max(frames, key=lambda uid: (frames[uid], uid)) if frames else None
    groups: dict[tuple[object, ...], list[list[InstanceFacts]]] = {}
    for image in sorted(images, key=lambda i: (repr(i.image_orientation), _acquired(i))):
        key = (
            image.modality,
            kind_of(image),
            is_placed(image),
            image.rows,
            image.columns,
            image.frame_of_reference_uid or usual,
        )
        alike = groups.setdefault(key, [])
        group = next((g for g in alike if _stacks_on(image, g[0])), None)
        if group is None:
            alike.append([image])
        else:
            group.append(image)
    return [sorted(group, key=_acquired) for alike in groups.values() for group in alike]


def _stacks_on(image: InstanceFacts, first: InstanceFacts) -> bool:
    """Same rows and same columns: parallel planes whose images are turned against one another don't stack."""
    a, b = image.image_orientation, first.image_orientation
    spacing, first_spacing = image.pixel_spacing, first.pixel_spacing
    if not is_placed(image) or a is None or b is None or spacing is None or first_spacing is None:
        return True
    return (
        dot(a[:3], b[:3]) > _PARALLEL_COSINE
        and dot(a[3:], b[3:]) > _PARALLEL_COSINE
        and all(abs(s - f) <= _SAME_SPACING * f for s, f in zip(spacing, first_spacing, strict=True))
    )


def _left_out(stack: Sequence[InstanceFacts], kind: ImageKind, groups: Sequence[list[InstanceFacts]]) -> list[Note]:
    """Images beside a stack of slices that may have been slices of it: too few to be a scan of their own."""
    if kind not in (ImageKind.SLICE, ImageKind.REFORMAT) or not positions_mm(stack):
        return []
    read = {(i.sop_instance_uid, i.frame_number) for i in stack}
    lost = 0
    for group in groups:
        first = (group[0].sop_instance_uid, group[0].frame_number)
        if kind_of(group[0]) is not kind or first in read or 2 * len(group) >= len(stack):
            continue
        normal = slice_normal(group[0].image_orientation) if group[0].image_orientation else None
        if normal is None or degrees_from_axial(normal) <= _AXIAL_WITHIN_DEGREES:
            lost += len(group)
    if not lost:
        return []
    return [Note(remark=Remark.IMAGES_LEFT_OUT, detail=f"{lost} beside {len(stack)} that were read")]
