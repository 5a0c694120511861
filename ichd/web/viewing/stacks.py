"""Stacks: which images a viewer scrolls through, in which order, and where in them something was found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ichd.domain.finding import CLASSES, ClassFinding, Finding, Presence
from ichd.domain.geometry import slice_normal
from ichd.domain.placed import is_placed, position_mm
from ichd.domain.study import InstanceFacts
from ichd.web.heatmaps import HeatLine


@dataclass(frozen=True, kw_only=True)
class StackSlice:
    """One image, or one frame of an image."""

    sop_uid: str
    #: Counted from 1; None where the image is the slice.
    frame_number: int | None
    #: Along the normal of the slice; None where nobody knows.
    z_mm: float | None

    def address(self, study_uid: str) -> str:
        """Where its values are to be had."""
        frame = "" if self.frame_number is None else f"?frame={self.frame_number}"
        return f"/api/studies/{study_uid}/images/{self.sop_uid}/hu{frame}"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What is scrolled through."""

    study_uid: str
    series_uid: str
    #: The most inferior first.
    slices: tuple[StackSlice, ...]
    #: Indices of what the model suspects, ascending; empty where it did not read these slices.
    suspicious: tuple[int, ...] = ()
    #: Index of the slice that is shown first.
    start: int = 0
    heat: tuple[HeatLine, ...] = ()

    @property
    def first(self) -> str:
        """Address of the slice that is shown first."""
        return self.slices[self.start].address(self.study_uid)

    def to_json(self) -> dict[str, Any]:
        """As the viewer reads it; indices count from zero."""
        return {
            "study": self.study_uid,
            "series": self.series_uid,
            "slices": [
                {"sop": s.sop_uid, "frame": s.frame_number, "z": s.z_mm, "url": s.address(self.study_uid)}
                for s in self.slices
            ],
            "suspicious": list(self.suspicious),
            "start": self.start,
            "heat": [
                {"slice": h.number - 1, "class": h.heat.class_name, "label": h.label, "url": h.layer} for h in self.heat
            ],
        }


def stack_of_reading(finding: Finding, heat: Sequence[HeatLine]) -> Stack:
    """What the model read, in its order: of thin slices that were averaged, the stored one that stands for each slab.

    It opens at the most suspicious slice: a key slice, where there is one.
    """
    prediction = finding.prediction
    return Stack(
        study_uid=prediction.study_instance_uid,
        series_uid=prediction.series_instance_uid,
        slices=tuple(
            StackSlice(sop_uid=s.sop_instance_uid, frame_number=s.frame_number, z_mm=s.z_mm) for s in prediction.slices
        ),
        suspicious=tuple(sorted({index for found in finding.classes for index in suspicious_in(finding, found)})),
        start=_most_suspicious(finding),
        heat=tuple(heat),
    )


def _most_suspicious(finding: Finding) -> int:
    slices = finding.prediction.slices
    keys = finding.classes[CLASSES.index("any")].key_slices
    column = CLASSES.index("any")
    return slices.index(keys[0] if keys else max(slices, key=lambda each: each.probabilities[column]))


def suspicious_in(finding: Finding, found: ClassFinding) -> tuple[int, ...]:
    """Indices of the slices that speak for a class, ascending: its key slices, and all that reach its threshold.

    A class that is absent has none.
    """
    if found.presence is Presence.ABSENT:
        return ()
    keys = {(s.sop_instance_uid, s.frame_number) for s in found.key_slices}
    column = CLASSES.index(found.name)
    least = found.slice_threshold.present_from
    return tuple(
        index
        for index, s in enumerate(finding.prediction.slices)
        if s.probabilities[column] >= least or (s.sop_instance_uid, s.frame_number) in keys
    )


def stack_of_series(images: Sequence[InstanceFacts]) -> Stack | None:
    """The images of one series; None where it has none that can be drawn. It opens in the middle.

    Parallel images stand together, from the feet up; those without a place follow in the order of their numbers, and
    frames in the order in which they are stored.
    """
    drawable = sorted((image for image in images if image.rows and image.columns), key=_place)
    if not drawable:
        return None
    slices = tuple(each for image in drawable for each in _slices(image))
    first = drawable[0]
    return Stack(
        study_uid=first.study_instance_uid,
        series_uid=first.series_instance_uid,
        slices=slices,
        start=len(slices) // 2,
    )


def _slices(image: InstanceFacts) -> Iterable[StackSlice]:
    if image.number_of_frames == 1:
        yield StackSlice(sop_uid=image.sop_instance_uid, frame_number=None, z_mm=position_mm(image))
        return
    for number in range(1, image.number_of_frames + 1):
        yield StackSlice(sop_uid=image.sop_instance_uid, frame_number=number, z_mm=None)


def _place(image: InstanceFacts) -> tuple[bool, tuple[float, ...], float, int]:
    normal = slice_normal(image.image_orientation) if image.image_orientation and is_placed(image) else None
    rounded = () if normal is None else tuple(round(component, 2) for component in normal)
    return normal is None, rounded, position_mm(image) or 0.0, image.instance_number or 0
