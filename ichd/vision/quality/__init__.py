"""Input quality: what the pixels of a head scan say about how it was acquired; numpy and scipy only.

The thresholds come from synthetic heads and few real ones: docs/input-quality.md says how often each look finds what
it looks for, and how often it errs.
"""

from dataclasses import dataclass

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
from ichd.vision.quality.sections import sections_of
from ichd.vision.scan import HeadScan

__all__ = ["Inspection", "inspect", "require_hounsfield"]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found in a scan that is in Hounsfield units and shows a head."""

    notes: tuple[Note, ...]
    #: Why the model must not speak, with the numbers; None where it may.
    refusal: tuple[Reason, str] | None

    def require(self) -> None:
        """Let a scan pass that the model may speak about.

        Raises:
            NotAnalysable: HEAD_INCOMPLETE or ARTEFACTS.
        """
        if self.refusal is not None:
            raise NotAnalysable(*self.refusal)


def inspect(scan: HeadScan) -> Inspection:
    """Look at everything; takes about 0.1 s for 36 slices of 512x512."""
    sections = sections_of(scan)
    extent = extent_of(sections)
    return Inspection(
        notes=(
            *motion_in(sections),
            *metal_in(scan, sections),
            *cut_off(sections),
            *extent.notes,
            *posture_of(sections).notes,
        ),
        refusal=ruin_of(sections) or extent.refusal,
    )
