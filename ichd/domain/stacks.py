"""From a series to stacks: images that can be read as the slices of one scan.

A Series is what a scanner calls so: two acquisitions of one head when the patient moved, a scout among axial slices, a
head in two halves. A stack is what a reader needs: one kind of picture, parallel planes, one pixel grid, one frame of
reference, each place once.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ichd.domain.acquisitions import Pass, acquired, passes_of
from ichd.domain.beside import notes_beside, repeats_acquisition
from ichd.domain.geometry import parallel
from ichd.domain.image_kind import ImageKind, kind_of
from ichd.domain.note import Note
from ichd.domain.placed import is_placed
from ichd.domain.study import InstanceFacts, SeriesFacts

_SAME_SPACING = 0.01


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
    stacks: list[Stack] = []
    for group in groups:
        kind = kind_of(group[0])
        for one in passes_of(group) if kind is ImageKind.SLICE else [Pass(instances=tuple(group))]:
            others = [other for other in groups if other is not group]
            notes = (*one.notes, *notes_beside(one.instances, others))
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
    stacks.sort(key=lambda s: min(map(acquired, s.instances)))
    return tuple(
        replace(stack, number=number, acquisition=_acquisition(stack, stacks)) for number, stack in enumerate(stacks, 1)
    )


def _acquisition(stack: Stack, stacks: Sequence[Stack]) -> tuple[int, int]:
    """Which repeat of its place a stack is, where those of other grids are counted too; `stacks` in their order."""
    alike = [
        other
        for other in stacks
        if other is stack
        or (other.kind is stack.kind is ImageKind.SLICE and repeats_acquisition(other.instances, stack.instances))
    ]
    if len(alike) <= stack.acquisition[1]:
        return stack.acquisition
    return (next(n for n, other in enumerate(alike, 1) if other is stack), len(alike))


def _consistent_groups(images: Sequence[InstanceFacts]) -> list[list[InstanceFacts]]:
    """Images of one kind whose planes are parallel and whose pixels have one grid; those without a place apart."""
    # An image that names none is where most others are: a frame of reference is forgotten more often than mixed.
    frame = _usual(i.frame_of_reference_uid for i in images)
    lying = _usual(i.patient_position for i in images)
    groups: dict[tuple[object, ...], list[list[InstanceFacts]]] = {}
    for image in sorted(images, key=lambda i: (repr(i.image_orientation), acquired(i))):
        key = (
            image.modality,
            kind_of(image),
            is_placed(image),
            image.rows,
            image.columns,
            image.frame_of_reference_uid or frame,
            image.patient_position or lying,
        )
        alike = groups.setdefault(key, [])
        group = next((g for g in alike if _stacks_on(image, g[0])), None)
        if group is None:
            alike.append([image])
        else:
            group.append(image)
    return [sorted(group, key=acquired) for alike in groups.values() for group in alike]


def _usual(names: Iterable[str | None]) -> str | None:
    counts = Counter(name for name in names if name)
    return max(counts, key=lambda name: (counts[name], name)) if counts else None


def _stacks_on(image: InstanceFacts, first: InstanceFacts) -> bool:
    """Same rows and same columns: parallel planes whose images are turned against one another don't stack."""
    a, b = image.image_orientation, first.image_orientation
    spacing, first_spacing = image.pixel_spacing, first.pixel_spacing
    if not is_placed(image) or a is None or b is None or spacing is None or first_spacing is None:
        return True
    return parallel(a, b) and all(abs(s - f) <= _SAME_SPACING * f for s, f in zip(spacing, first_spacing, strict=True))
