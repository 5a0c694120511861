"""Does the field of view hold the whole section of the head?"""

import numpy as np

from ichd.domain.note import Note, Remark
from ichd.vision.quality.sections import Flags, Sections, opened, places
from ichd.vision.window import LEAST_HU

#: A chord of this length across a head cuts off 4 mm of scalp: less is a touch, on a grid of 2 mm.
_CUT_MM = 60.0
#: One of this length cuts 12 mm deep into a head of 170 mm: through scalp and skull, to the brain.
_BRAIN_CUT_MM = 87.0
#: Ears, and the rest that an ear lies on, are thinner than twice this, and are opened away.
_EAR_CELLS = 6
_BRAIN_SHARE = 0.25


def cut_off(sections: Sections) -> tuple[Note, ...]:
    """FIELD_OF_VIEW_CLIPPED where the outline of the head runs along the edge of what was reconstructed.

    Only slices with brain are looked at: noses and necks are cut off every day and hide no blood.
    """
    bodies = opened(sections.body_SHW, _EAR_CELLS)
    # Where the circle touches the border, what is cut runs along both: it is one cut all the same.
    cut_cells = np.max([(bodies & edge_HW).sum(axis=(1, 2)) for edge_HW in _edges(sections)], axis=0)
    cut_mm = cut_cells * float(np.mean(sections.steps_mm))
    cut_S = sections.with_brain(_BRAIN_SHARE) & (cut_mm >= _CUT_MM)
    if not cut_S.any():
        return ()
    detail = f"{places(cut_S, sections.z_mm)}, up to {cut_mm[cut_S].max():.0f} mm of the outline"
    unseen = bool(cut_mm[cut_S].max() >= _BRAIN_CUT_MM)
    return (Note(remark=Remark.FIELD_OF_VIEW_CLIPPED, detail=detail, unseen=unseen),)


def _edges(sections: Sections) -> list[Flags]:
    """The outermost places, each [H, W]: the image's border; where corners are padding, the rim of the circle."""
    rows, columns = sections.hu_SHW.shape[1:]
    edge = np.zeros((rows, columns), dtype=np.bool_)
    edge[[0, -1]] = True
    edge[:, [0, -1]] = True
    corners = sections.hu_SHW[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    if not (corners == LEAST_HU).all():
        return [edge]
    row, column = np.ogrid[:rows, :columns]
    from_centre = np.hypot(row - (rows - 1) / 2, column - (columns - 1) / 2)
    radius = min(rows, columns) / 2
    return [edge, np.asarray((from_centre >= radius - 2.5) & (from_centre < radius - 1.5))]
