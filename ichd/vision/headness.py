"""Do these pixels show a head? Body part tags are wrong in one series of seven, so the pixels are asked.

A section of a head is soft tissue of a head's size, inside a shell of bone, with hardly any air. Each is a number;
thresholds are wide, because a head refused is a patient not read: a skull with a third of its ring removed by a
surgeon passes, so does a neonate's. What they must keep out lies far away: chests (size, air, no ring), abdomens and
water phantoms (size, no ring), necks and limbs (no ring).

A phantom may wear a ring of plaster. What no head has is an inside that is alike everywhere in every section.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichd.domain.errors import NotAnalysable
from ichd.domain.ranking import PixelEvidence
from ichd.domain.reason import Reason
from ichd.vision.quality.extent import extent_of
from ichd.vision.quality.sections import sections_of
from ichd.vision.scan import HeadScan

_GRID_MM = 2.0
#: Enough to tell a head, evenly chosen.
SECTIONS_LOOKED_AT = 12
#: The base has cheeks and sinuses, the vertex mostly bone: neither must pass, a third of the scan must.
_HEAD_SHARE = 0.3

_BODY_FROM_HU = -300
_BONE_FROM_HU = 200
_AIR_BELOW_HU = -500
_SOFT_HU = (-20, 100)
#: Scalp, temporal muscle and skull together.
_SHELL_MM = 30.0
_DIRECTIONS = 72

_DIAMETER_MM = (75.0, 220.0)
_LEAST_RING = 0.6
_MOST_AIR = 0.15
_LEAST_SOFT = 0.5

#: Averaged over a centimetre, so that noise does not count.
_SMOOTHED_PIXELS = 5
#: Brain, ventricles and sulci differ by 4 HU and more where sections are quietest, by 100 and more at the base; water
#: and plastic by what beam hardening leaves.
_LEAST_UNEVEN_HU = 4.0
_FEWEST_TO_CALL_EVEN = 5


@dataclass(frozen=True, kw_only=True)
class Section:
    """What one slice shows."""

    #: Of the circle that has the area of the body, mm.
    diameter_mm: float
    #: Share of the directions from the body's centre in which bone lies near its surface.
    ring: float
    #: Share of the body, its holes filled, that is air.
    air: float
    #: Share of what lies inside the shell that is soft tissue or fluid.
    soft: float
    #: From the 10th to the 90th percentile of HU inside the shell, noise smoothed away.
    uneven_hu: float

    @property
    def is_head(self) -> bool:
        """Whether every number is a head's."""
        return (
            _DIAMETER_MM[0] <= self.diameter_mm <= _DIAMETER_MM[1]
            and self.ring >= _LEAST_RING
            and self.air <= _MOST_AIR
            and self.soft >= _LEAST_SOFT
        )


_NOTHING = Section(diameter_mm=0.0, ring=0.0, air=1.0, soft=0.0, uneven_hu=np.inf)


def require_head(scan: HeadScan) -> PixelEvidence:
    """Let a scan pass whose pixels show a head, and say how much of it they show.

    Raises:
        NotAnalysable: NOT_A_HEAD, with the numbers of the median section, or QUALITY_CONTROL_OBJECT.
    """
    sections = look_at_sections(scan)
    heads = sum(section.is_head for section in sections)
    _require_no_phantom(sections)
    if heads < max(1.0, _HEAD_SHARE * len(sections)):
        diameter, ring, air, soft = np.median([(s.diameter_mm, s.ring, s.air, s.soft) for s in sections], axis=0)
        raise NotAnalysable(
            Reason.NOT_A_HEAD,
            f"{heads} of {len(sections)} sections look like a head; the median one is {diameter:.0f} mm across, "
            f"bone around {ring:.0%}, air {air:.0%}, soft tissue inside {soft:.0%}",
        )
    extent = extent_of(sections_of(scan))
    return PixelEvidence(
        sections=len(sections),
        heads=heads,
        reaches_vertex=extent.reaches_vertex,
        reaches_base=extent.reaches_base,
    )


def _require_no_phantom(sections: tuple[Section, ...]) -> None:
    """Even the evenest quarter of a head's sections is not what a phantom's unevenest quarter is."""
    if len(sections) < _FEWEST_TO_CALL_EVEN:
        return
    uneven_hu = float(np.quantile([s.uneven_hu for s in sections], 0.75, method="lower"))
    if uneven_hu < _LEAST_UNEVEN_HU:
        raise NotAnalysable(
            Reason.QUALITY_CONTROL_OBJECT,
            f"what lies inside is alike everywhere: within {uneven_hu:.1f} HU in three quarters of "
            f"{len(sections)} sections, {_LEAST_UNEVEN_HU:.0f} HU needed",
        )


def look_at_sections(scan: HeadScan) -> tuple[Section, ...]:
    """The numbers of at most twelve slices, evenly chosen, inferior first."""
    count = len(scan.hu_SHW)
    chosen = np.unique(np.linspace(0, count - 1, min(count, SECTIONS_LOOKED_AT)).round().astype(int))
    # A coarse grid is enough to tell a head, and makes looking as quick as it must be before every reading.
    strides = [max(1, round(_GRID_MM / spacing)) for spacing in scan.pixel_spacing_mm]
    steps_mm = (strides[0] * scan.pixel_spacing_mm[0], strides[1] * scan.pixel_spacing_mm[1])
    return tuple(_look_at(scan.hu_SHW[index, :: strides[0], :: strides[1]], steps_mm) for index in chosen)


def _look_at(hu_HW: NDArray[np.int16] | NDArray[np.float32], steps_mm: tuple[float, float]) -> Section:
    body = _largest_body(hu_HW)
    if body is None:
        return _NOTHING
    area_mm2 = float(body.sum()) * steps_mm[0] * steps_mm[1]
    # Padded, so that a body cut by the image's edge has its surface there.
    depth_mm = ndimage.distance_transform_edt(np.pad(body, 1), sampling=steps_mm)[1:-1, 1:-1]
    interior = depth_mm >= _SHELL_MM
    soft = (hu_HW[interior] >= _SOFT_HU[0]) & (hu_HW[interior] <= _SOFT_HU[1])
    return Section(
        diameter_mm=2.0 * float(np.sqrt(area_mm2 / np.pi)),
        ring=_ring((hu_HW > _BONE_FROM_HU) & body & ~interior, body, steps_mm),
        air=float((hu_HW[body] < _AIR_BELOW_HU).mean()),
        soft=float(soft.mean()) if soft.size else 0.0,
        uneven_hu=_unevenness(hu_HW, interior),
    )


def _unevenness(hu_HW: NDArray[np.int16] | NDArray[np.float32], interior: NDArray[np.bool_]) -> float:
    """Spread of smoothed HU where only the interior was averaged; infinite where there is too little of it."""
    inside = ndimage.binary_erosion(interior, iterations=_SMOOTHED_PIXELS // 2)
    if not inside.any():
        return np.inf
    smooth = ndimage.uniform_filter(hu_HW.astype(np.float32), _SMOOTHED_PIXELS)[inside]
    low, high = np.percentile(smooth, (10, 90))
    return float(high - low)


def _largest_body(hu_HW: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """The largest thing that is denser than foam, its cavities filled; couch and straps are opened away."""
    labels, components = ndimage.label(ndimage.binary_opening(hu_HW > _BODY_FROM_HU, iterations=2))
    if components == 0:
        return None
    largest = int(np.argmax(np.bincount(labels.ravel())[1:])) + 1
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(labels == largest)
    return filled


def _ring(bone: NDArray[np.bool_], body: NDArray[np.bool_], steps_mm: tuple[float, float]) -> float:
    """Share of the directions around the body's centre in which `bone` lies."""
    centre_row, centre_column = (float(axis.mean()) for axis in np.nonzero(body))
    rows, columns = np.nonzero(bone)
    angles = np.arctan2((rows - centre_row) * steps_mm[0], (columns - centre_column) * steps_mm[1])
    directions = np.floor((angles + np.pi) / (2 * np.pi) * _DIRECTIONS).astype(int) % _DIRECTIONS
    return len(np.unique(directions)) / _DIRECTIONS
