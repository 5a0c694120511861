"""Input quality: what the pixels of a head scan say about how it was acquired; numpy and scipy only.

The thresholds come from synthetic heads and few real ones: docs/input-quality.md says how often each look finds what
it looks for, and how often it errs.
"""

import math
from dataclasses import dataclass

import numpy as np

from ichd.domain.errors import NotAnalysable
from ichd.domain.note import Note
from ichd.domain.reason import Reason
from ichd.vision.quality.extent import extent_of
from ichd.vision.quality.field import cut_off
from ichd.vision.quality.metal import metal_in
from ichd.vision.quality.motion import motion_in
from ichd.vision.quality.orientation import posture_of
from ichd.vision.quality.ruin import ruin_of
from ichd.vision.quality.scale import require_hounsfield
from ichd.vision.quality.sections import Sections, sections_of
from ichd.vision.quality.spoiled import spoiled_in, without
from ichd.vision.scan import HeadScan

__all__ = ["Inspection", "inspect", "require_hounsfield"]

#: As `ichd.vision.headness` has them.
_LEAST_DIAMETER_MM, _LARGEST_DIAMETER_MM = 75.0, 220.0


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found in a scan that is in Hounsfield units and shows a head."""

    notes: tuple[Note, ...]
    #: Why the model must not speak, with the numbers; None where it may.
    refusal: tuple[Reason, str] | None

    def require(self) -> None:
        """Let a scan pass that the model may speak about.

        Raises:
            NotAnalysable: IMPLAUSIBLE_HU, NOT_A_HEAD, HEAD_INCOMPLETE or ARTEFACTS.
        """
        if self.refusal is not None:
            raise NotAnalysable(*self.refusal)


def inspect(scan: HeadScan) -> Inspection:
    """Look at everything; takes about 0.1 s for 36 slices of 512x512.

    What is no head, or not in HU, is not looked at further: there is metal and motion in whatever has the wrong scale.
    """
    sections = sections_of(scan)
    try:
        require_hounsfield(scan)
    except NotAnalysable as error:
        # Streaks enough shift the heaps as a wrong scale does.
        return Inspection(notes=(), refusal=ruin_of(sections) or (error.reason, error.detail))
    if (refusal := _wrong_size(sections)) is not None:
        return Inspection(notes=(), refusal=refusal)
    spoiled = spoiled_in(sections)
    if spoiled.refusal is not None:
        return Inspection(notes=spoiled.notes, refusal=spoiled.refusal)
    if spoiled.notes:
        scan = without(scan, spoiled.spoiled_S)
        sections = sections_of(scan)
    extent = extent_of(sections)
    return Inspection(
        notes=(
            *spoiled.notes,
            *motion_in(sections),
            *metal_in(scan, sections),
            *cut_off(sections),
            *extent.notes,
            *posture_of(sections).notes,
        ),
        refusal=ruin_of(sections) or extent.refusal,
    )


def _wrong_size(sections: Sections) -> tuple[Reason, str] | None:
    """NOT_A_HEAD, where no section is as large as a newborn's, or each of them larger than any head."""
    areas_cm2 = sections.body_cm2
    widest_mm = 2.0 * math.sqrt(float(areas_cm2.max()) * 100.0 / math.pi)
    if widest_mm < _LEAST_DIAMETER_MM or float(np.median(areas_cm2)) * 100.0 > math.pi / 4 * _LARGEST_DIAMETER_MM**2:
        return Reason.NOT_A_HEAD, f"the widest section is {widest_mm:.0f} mm across"
    return None
