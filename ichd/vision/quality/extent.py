"""Is the whole brain in the scan? How much is missing above the topmost and below the lowest slice."""

from dataclasses import dataclass

import numpy as np

from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.vision.quality.sections import Sections

#: About two slices of a routine protocol: less is lost between any two scans of one head.
_MISSING_MM = 12.0
#: The base is estimated to 10 mm, and many protocols begin a slice or two above the foramen magnum: from here on it is
#: more than that, and the posterior fossa is not seen.
_BASE_UNSEEN_MM = 25.0
#: The area of the brain's section grows from that of the foramen magnum to that at the suprasellar cistern over 35 mm
#: in a head whose largest section has a radius of 76 mm: shares of the largest section, and the slope between them.
_FORAMEN_SHARE = 0.15
_BASE_MM_PER_SHARE = 70.0
_USUAL_RADIUS_MM = 76.0
#: A section of this share of the largest one counts as brain when the extent is measured.
_BRAIN_SHARE = 0.25
#: A preterm neonate's brain is 60 mm high; a stack through the face shows less than this of an adult's.
_LEAST_MM = 45.0


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What the slices cover of the brain, and what they seem to leave out, mm along the slice normal."""

    brain_mm: float
    above_mm: float
    below_mm: float

    @property
    def reaches_vertex(self) -> bool:
        """Whether hardly anything of the brain seems to be missing above."""
        return self.above_mm < _MISSING_MM

    @property
    def reaches_base(self) -> bool:
        """Whether hardly anything of the brain seems to be missing below."""
        return self.below_mm < _MISSING_MM

    @property
    def notes(self) -> tuple[Note, ...]:
        """VERTEX_MISSING and BASE_MISSING."""
        notes = []
        if not self.reaches_vertex:
            detail = f"about {self.above_mm:.0f} mm of brain"
            notes.append(Note(remark=Remark.VERTEX_MISSING, detail=detail, unseen=True))
        if not self.reaches_base:
            detail = f"about {self.below_mm:.0f} mm of brain"
            notes.append(Note(remark=Remark.BASE_MISSING, detail=detail, unseen=self.below_mm >= _BASE_UNSEEN_MM))
        return tuple(notes)

    @property
    def refusal(self) -> tuple[Reason, str] | None:
        """HEAD_INCOMPLETE: the model would speak about a head of which it sees hardly anything."""
        if self.brain_mm >= _LEAST_MM:
            return None
        return Reason.HEAD_INCOMPLETE, f"the slices cover {self.brain_mm:.0f} mm of brain, {_LEAST_MM:.0f} mm needed"


def extent_of(sections: Sections) -> Extent:
    """How far the brain reaches, from the areas of its sections.

    Near the vertex the brain is close to a ball with the largest section's radius, so the area of the topmost section
    says how high the cap above it is. Below, the shape of the base is an average of few heads: an estimate to 10 mm.
    """
    area_cm2, z_mm = sections.brain_cm2, sections.z_mm
    largest = float(area_cm2.max())
    with_brain = z_mm[sections.with_brain(_BRAIN_SHARE)]
    if not with_brain.size:
        return Extent(brain_mm=0.0, above_mm=0.0, below_mm=0.0)
    radius_mm = float(np.sqrt(largest * 100.0 / np.pi))
    shares = area_cm2 / largest
    step_mm = float(np.median(np.diff(z_mm))) if len(z_mm) > 1 else 0.0
    to_the_foramen = (float(shares[0]) - _FORAMEN_SHARE) * _BASE_MM_PER_SHARE * radius_mm / _USUAL_RADIUS_MM
    return Extent(
        brain_mm=float(with_brain[-1] - with_brain[0]) + step_mm,
        above_mm=radius_mm * (1.0 - float(np.sqrt(1.0 - min(1.0, float(shares[-1]))))),
        below_mm=max(0.0, to_the_foramen),
    )
