"""A head scan on a coarse grid, with its body and its brain marked: what every look at quality starts from.

Shapes: S slices, H W rows and columns of the coarse grid, about 2 mm apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichd.vision.scan import HeadScan

Flags = NDArray[np.bool_]
Floats = NDArray[np.float32]

_GRID_MM = 2.0
_FEWEST_PLACES = 16
_BODY_FROM_HU = -300
_BONE_FROM_HU = 200
_SOFT_HU = (-20, 100)
#: Of eight directions from a point of the brain, bone lies in all; where a surgeon took a piece, in most.
_DIRECTIONS_WITH_BONE = 7
#: Where he took a third of the ring, in three of them still; on such a section the rest of the body tells the brain.
_DIRECTIONS_WHERE_OPEN = 3
#: Scalp, muscle and skull together; and no more of them than this where there is no skull.
_DEEP_MM, _SCALP_MM = 28.0, 10.0
#: Above the base of the skull the inside of a head is soft tissue; a face, and a neck, are so to 0.7.
_OPEN_FROM_SOFT = 0.85
#: A closed skull surrounds all that lies deep.
_CLOSED_FROM = 0.8
#: A preterm neonate's largest section has four times this; between ribs and in necks there is less.
_LEAST_BRAIN_CM2 = 10.0


@dataclass(frozen=True, kw_only=True)
class Sections:
    """The slices of a scan, coarsely; slice 0 is the most inferior, row 0 anterior, column 0 the patient's right."""

    #: HU [S, H, W], each the mean of up to four pixels.
    hu_SHW: Floats
    #: mm between rows, mm between columns.
    steps_mm: tuple[float, float]
    #: Along the slice normal, ascending, mm [S].
    z_mm: NDArray[np.float64]
    #: The largest thing in each slice, its cavities filled [S, H, W].
    body_SHW: Flags
    #: What bone surrounds, air and fluid among it [S, H, W].
    cavity_SHW: Flags
    #: Soft tissue in the cavity [S, H, W]; in the face and the neck a little of what is no brain.
    brain_SHW: Flags

    @property
    def cell_cm2(self) -> float:
        """Area of one place of the grid."""
        return self.steps_mm[0] * self.steps_mm[1] / 100.0

    @property
    def body_cm2(self) -> NDArray[np.float64]:
        """Area of the body in each slice [S]."""
        return _areas(self.body_SHW, self.cell_cm2)

    @property
    def brain_cm2(self) -> NDArray[np.float64]:
        """Area of the brain in each slice [S]."""
        return _areas(self.brain_SHW, self.cell_cm2)

    def with_brain(self, share: float) -> Flags:
        """Slices [S] whose section of the brain has at least this share of the largest one's area."""
        area = self.brain_cm2
        return np.asarray(area >= max(_LEAST_BRAIN_CM2, share * area.max()))


def _areas(marked_SHW: Flags, cell_cm2: float) -> NDArray[np.float64]:
    return np.asarray(marked_SHW.sum(axis=(1, 2)) * cell_cm2, dtype=np.float64)


def sections_of(scan: HeadScan) -> Sections:
    """The scan on a grid of about 2 mm."""
    strides = strides_for(scan, _GRID_MM)
    hu_SHW = coarse(scan.hu_SHW, strides)
    bone = hu_SHW > _BONE_FROM_HU
    bodies = _bodies(hu_SHW)
    # A head rest is as dense as bone, and between it and the head there is air.
    directions = directions_with(bone)
    cavity = (directions >= _DIRECTIONS_WITH_BONE) & ~bone & bodies
    soft = _soft(hu_SHW, bone)
    steps_mm = (strides[0] * scan.pixel_spacing_mm[0], strides[1] * scan.pixel_spacing_mm[1])
    under_scalp = eroded(bodies, round(_SCALP_MM / _GRID_MM)) & (directions >= _DIRECTIONS_WHERE_OPEN) & ~bone
    cavity |= under_scalp & _open(bodies, cavity, under_scalp & soft)[:, np.newaxis, np.newaxis]
    return Sections(
        hu_SHW=hu_SHW,
        steps_mm=steps_mm,
        z_mm=np.asarray(scan.z_mm),
        body_SHW=bodies,
        cavity_SHW=cavity,
        brain_SHW=opened(cavity & soft, 2),
    )


def _soft(hu_SHW: Floats, bone_SHW: Flags) -> Flags:
    """What has the HU of soft tissue, on average over itself and its eight neighbours that are no bone [S, H, W].

    A sharp kernel's noise is wider than what parts fluid from fat, and bone beside the brain must not lift it.
    """
    weights = ndimage.uniform_filter((~bone_SHW).astype(np.float32), size=(1, 3, 3))
    sums = ndimage.uniform_filter(np.where(bone_SHW, np.float32(0), hu_SHW), size=(1, 3, 3))
    mean = sums / np.maximum(weights, np.float32(0.1))
    return np.asarray((mean > _SOFT_HU[0]) & (mean < _SOFT_HU[1]) & ~bone_SHW)


def _open(body_SHW: Flags, cavity_SHW: Flags, soft_SHW: Flags) -> Flags:
    """Slices [S] through a brain that the skull does not surround, as after a large craniectomy."""
    deep = eroded(body_SHW, round(_DEEP_MM / _GRID_MM))
    count = np.maximum(deep.sum(axis=(1, 2)), 1)
    is_soft = (deep & soft_SHW).sum(axis=(1, 2)) >= _OPEN_FROM_SOFT * count
    return np.asarray(is_soft & ((deep & cavity_SHW).sum(axis=(1, 2)) < _CLOSED_FROM * count))


def strides_for(scan: HeadScan, grid_mm: float) -> tuple[int, int]:
    """Pixels from one place of a grid to the next, down and across; few enough whatever Pixel Spacing says."""
    rows, columns = (
        max(1, min(round(grid_mm / spacing), size // _FEWEST_PLACES))
        for spacing, size in zip(scan.pixel_spacing_mm, scan.hu_SHW.shape[1:], strict=True)
    )
    return rows, columns


def coarse(hu_SHW: NDArray[np.int16] | NDArray[np.float32], strides: tuple[int, int]) -> Floats:
    """Every so-manyth pixel, averaged with its neighbours half a stride on; the image's last rows may be left out."""
    rows, columns = hu_SHW.shape[1] // strides[0], hu_SHW.shape[2] // strides[1]
    starts = [(row, column) for row in {0, strides[0] // 2} for column in {0, strides[1] // 2}]
    total = np.zeros((len(hu_SHW), rows, columns), dtype=np.float32)
    for row, column in starts:
        total += hu_SHW[:, row :: strides[0], column :: strides[1]][:, :rows, :columns]
    total /= np.float32(len(starts))
    return total


def _bodies(hu_SHW: Floats) -> Flags:
    """The largest thing of each slice that is denser than foam; couch and straps are opened away."""
    things = opened(hu_SHW > _BODY_FROM_HU, 2)
    bodies = np.zeros_like(things)
    for index, thing in enumerate(things):
        labels, count = ndimage.label(thing)
        if count:
            largest = int(np.argmax(np.bincount(labels.ravel())[1:])) + 1
            bodies[index] = ndimage.binary_fill_holes(labels == largest)
    return bodies


def opened(marked_SHW: Flags, cells: int) -> Flags:
    """Without what is thinner than twice `cells` [S, H, W]."""
    return dilated(eroded(marked_SHW, cells), cells)


def eroded(marked_SHW: Flags, cells: int) -> Flags:
    """Thinned by so many places in plane [S, H, W]; the image's border is no edge, since what it cuts goes on."""
    return ~dilated(~marked_SHW, cells)


def dilated(marked_SHW: Flags, cells: int) -> Flags:
    """Thickened by so many places in plane [S, H, W].

    By shifted copies: scipy's morphology takes twenty times as long for the same.
    """
    thick = marked_SHW
    for _ in range(cells):
        thin, thick = thick, thick.copy()
        thick[:, 1:] |= thin[:, :-1]
        thick[:, :-1] |= thin[:, 1:]
        thick[:, :, 1:] |= thin[:, :, :-1]
        thick[:, :, :-1] |= thin[:, :, 1:]
    return thick


def directions_with(seen_SHW: Flags) -> NDArray[np.uint8]:
    """In how many of eight directions, in plane, something marked lies [S, H, W]; what is marked sees itself."""
    count = np.zeros(seen_SHW.shape, dtype=np.uint8)
    for flip in (1, -1):
        down, across = seen_SHW[:, ::flip], seen_SHW[:, :, ::flip]
        count += np.logical_or.accumulate(down, axis=1)[:, ::flip]
        count += np.logical_or.accumulate(across, axis=2)[:, :, ::flip]
        for mirror in (1, -1):
            diagonal = down[:, :, ::mirror].copy()
            for row in range(1, diagonal.shape[1]):
                diagonal[:, row, 1:] |= diagonal[:, row - 1, :-1]
            count += diagonal[:, ::flip, ::mirror]
    return count


def places(marked_S: Flags, z_mm: NDArray[np.float64]) -> str:
    """Where marked slices lie along the normal: "at 12 mm, 20 to 35 mm".

    Not by number: thin slices are averaged before they are looked at, stations count from either end, and what a
    record gives for each slice is its `z_mm`.
    """
    indices = np.flatnonzero(marked_S)
    runs = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    spans = [
        f"{z_mm[run[0]]:.0f} to {z_mm[run[-1]]:.0f} mm" if run.size > 1 else f"{z_mm[run[0]]:.0f} mm" for run in runs
    ]
    return f"at {', '.join(spans)}"
