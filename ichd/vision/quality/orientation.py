"""Does the head lie as its header says? The air of the face, and the cap of the vault, tell front from back and up from
down. Left and right can't be told: a head is nearly its own mirror image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ichd.domain.note import Note, Remark
from ichd.vision.quality.sections import Flags, Sections

_AIR_BELOW_HU = -400
#: Nose, sinuses and mastoid cells hold more than this where the scan shows them; without, nothing can be said.
_LEAST_AIR_ML = 5.0
#: The air of a head that lies as it should is in front, -0.2 to -0.6; mastoid cells alone lie near 0.
_BEHIND = 0.1
#: Heads that lie as they should have their air in the lowest third.
_HEIGHT = 0.6
#: A stack ends with a small cap at one end, with face or neck at the other.
_CAP_SHARE = 0.7


@dataclass(frozen=True, kw_only=True)
class Posture:
    """Where the air in the head lies, and how the sections end."""

    air_ml: float
    #: Where the air lies between the lowest slice (0) and the topmost (1).
    air_height: float
    #: Where the air lies between the front of the body (-1) and its back (1).
    air_behind: float
    #: Area of the lowest section of the body over that of the topmost.
    lowest_over_topmost: float

    @property
    def notes(self) -> tuple[Note, ...]:
        """ORIENTATION_DOUBTFUL; upside down takes both witnesses, because air in the skull rises as well."""
        if self.air_ml < _LEAST_AIR_ML:
            return ()
        doubts = []
        if self.air_behind > _BEHIND:
            doubts.append(f"the face seems to look backward: {self.air_ml:.0f} ml of air at {self.air_behind:+.1f}")
        if self.air_height > _HEIGHT and self.lowest_over_topmost < _CAP_SHARE:
            doubts.append(
                f"the vertex seems to lie below: {self.air_ml:.0f} ml of air at {self.air_height:.0%} of the height"
            )
        return tuple(Note(remark=Remark.ORIENTATION_DOUBTFUL, detail=doubt) for doubt in doubts)


def posture_of(sections: Sections) -> Posture:
    """The numbers of a scan; all 0 where there is no air in the head."""
    air = sections.body_SHW & (sections.hu_SHW < _AIR_BELOW_HU)
    slices, rows, _ = np.nonzero(air)
    if len(sections.z_mm) < 2 or not slices.size:
        return Posture(air_ml=0.0, air_height=0.0, air_behind=0.0, lowest_over_topmost=0.0)
    # Where the spacing changes, each slice stands for as much of the head as lies nearest to it.
    weights = np.gradient(sections.z_mm)[slices]
    front, back = _ends(sections)
    behind = (rows - (front + back)[slices] / 2) / np.maximum((back - front)[slices] / 2, 1.0)
    heights = (sections.z_mm - sections.z_mm[0]) / (sections.z_mm[-1] - sections.z_mm[0])
    areas = sections.body_cm2
    return Posture(
        air_ml=float(weights.sum()) * sections.cell_cm2 / 10.0,
        air_height=float(np.average(heights[slices], weights=weights)),
        air_behind=float(np.average(behind, weights=weights)),
        lowest_over_topmost=float(areas[0] / max(areas[-1], sections.cell_cm2)),
    )


def _ends(sections: Sections) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last row of the body in each slice [S]; of a slice without body, the image's."""
    occupied: Flags = np.asarray(sections.body_SHW.any(axis=2))
    return occupied.argmax(axis=1), occupied.shape[1] - 1 - occupied[:, ::-1].argmax(axis=1)
