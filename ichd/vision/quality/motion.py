"""Did the patient move? Within a slice, by a doubled rim and streaks; between slices, by a step of the whole head.

What still shows in a single slice is judged against its neighbours: hair, cushions and the slope of the vault blur an
outline as well, but not in one slice alone.
"""

import numpy as np
from numpy.typing import NDArray

from ichd.domain.note import Note, Remark
from ichd.vision.quality.sections import Flags, Sections, dilated, places

#: Slices without the face, whose outline changes from one to the next.
_VAULT_SHARE = 0.35
#: Half air, half skin.
_RIM_HU = (-850, -300)
_RIM_CELLS = 5
#: The rim of a slice is so much wider than those of both its neighbours, mm.
_DOUBLED_MM = 0.4
#: And the air around differs so much from that of the neighbours, HU: streaks.
_STREAKS_HU = 20.0
_AIR_CELLS = (2, 12)
#: More than the head drifts from one slice to the next, to a side and along, mm.
_STEP_MM = (3.5, 2.5)
#: The drift is the median of so many steps around.
_STEPS_AROUND = 5


def motion_in(sections: Sections) -> tuple[Note, ...]:
    """MOTION, with the slices that are blurred and those before which the head has jumped."""
    vault_S = sections.with_brain(_VAULT_SHARE)
    if vault_S.sum() < _STEPS_AROUND:
        return ()
    blurred_S = vault_S & (_doubled_mm(sections) >= _DOUBLED_MM) & (_streaks_hu(sections) >= _STREAKS_HU)
    steps_mm = _steps_mm(sections, vault_S)
    jumped_S: Flags = np.asarray((steps_mm >= np.array(_STEP_MM)).any(axis=1))
    parts = []
    if blurred_S.any():
        parts.append(f"doubled outline and streaks {places(blurred_S, sections.z_mm)}")
    if jumped_S.any():
        parts.append(
            f"a step of up to {steps_mm[jumped_S].max():.0f} mm below the slices {places(jumped_S, sections.z_mm)}"
        )
    return (Note(remark=Remark.MOTION, detail="; ".join(parts)),) if parts else ()


def _doubled_mm(sections: Sections) -> NDArray[np.float64]:
    """How much wider a slice's rim of half air is than that of the wider neighbour, mm [S]."""
    rim = dilated(sections.body_SHW, _RIM_CELLS) & ~sections.body_SHW
    half_air = (sections.hu_SHW > _RIM_HU[0]) & (sections.hu_SHW < _RIM_HU[1])
    rim_mm2 = (rim & half_air).sum(axis=(1, 2)) * sections.cell_cm2 * 100.0
    around_mm = 2.0 * np.sqrt(np.pi * np.maximum(sections.body_cm2, 1.0) * 100.0)
    width_mm = np.pad(rim_mm2 / around_mm, 1, constant_values=np.inf)
    return np.asarray(width_mm[1:-1] - np.maximum(width_mm[:-2], width_mm[2:]))


def _streaks_hu(sections: Sections) -> NDArray[np.float64]:
    """Nine tenths of the air around a slice differ by less from the mean of both neighbours, HU [S]; 0 at the ends.

    Couch, rest and cushions are the same in all three.
    """
    near = dilated(sections.body_SHW, _AIR_CELLS[0])
    around = dilated(sections.body_SHW, _AIR_CELLS[1])
    streaks = np.zeros(len(near))
    for index in range(1, len(near) - 1):
        air = around[index] & ~(near[index - 1] | near[index] | near[index + 1])
        if air.any():
            below, here, above = (sections.hu_SHW[i][air] for i in (index - 1, index, index + 1))
            streaks[index] = np.percentile(np.abs(here - 0.5 * (below + above)), 90)
    return streaks


def _steps_mm(sections: Sections, vault_S: Flags) -> NDArray[np.float64]:
    """How far the head lies beside where the drift around would have it, [S, row and column], mm; 0 outside the vault.

    Body and brain must have made the step both, to the same side: a swelling of the scalp moves the body's middle
    alone, the roof of an orbit that of the brain.
    """
    up_mm = np.diff(sections.z_mm)[:, np.newaxis]
    beside = []
    for part in (sections.body_SHW, sections.brain_SHW):
        drift = np.diff(_middles_mm(part, sections.steps_mm), axis=0) / up_mm
        half = _STEPS_AROUND // 2
        usual = np.stack([np.median(drift[max(0, i - half) : i + half + 1], axis=0) for i in range(len(drift))])
        beside.append((drift - usual) * up_mm)
    same_side = np.sign(beside[0]) == np.sign(beside[1])
    steps = np.where(same_side, np.minimum(np.abs(beside[0]), np.abs(beside[1])), 0.0)
    steps[~(vault_S[1:] & vault_S[:-1])] = 0.0
    return np.concatenate([np.zeros((1, 2)), steps])


def _middles_mm(part_SHW: Flags, steps_mm: tuple[float, float]) -> NDArray[np.float64]:
    """Centre of what is marked in each slice, [S, row and column], mm from the first row and column."""
    count = np.maximum(part_SHW.sum(axis=(1, 2)), 1)
    rows = (part_SHW.sum(axis=2) * np.arange(part_SHW.shape[1])).sum(axis=1) / count
    columns = (part_SHW.sum(axis=1) * np.arange(part_SHW.shape[2])).sum(axis=1) / count
    return np.stack([rows * steps_mm[0], columns * steps_mm[1]], axis=1)
