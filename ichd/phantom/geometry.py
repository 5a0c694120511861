"""How the scan is laid through the head: pose, gantry tilt, slice positions, field of view."""

from dataclasses import dataclass

import numpy as np

from .fields import Floats, Rng
from .grid import Grid, rotation
from .recipe import PhantomRecipe


@dataclass(frozen=True, kw_only=True)
class ScanGeometry:
    """Slices as a scanner lays them: parallel planes, moved along the table (patient z), leant by the gantry's tilt."""

    #: table position of each slice, ascending, and its thickness, mm; the head's origin lies at 0
    z_mm: Floats
    thickness_mm: Floats
    tilt_deg: float
    pixel_mm: float
    #: in-plane place (mm along row step, along column step) of the image's middle, from the head's origin
    centre: tuple[float, float]
    #: head frame to patient frame
    pose: Floats

    @property
    def row_step(self) -> Floats:
        """Unit direction of growing row index in the patient frame (LPS)."""
        tilt = np.deg2rad(self.tilt_deg)
        return np.asarray([0.0, np.cos(tilt), -np.sin(tilt)], dtype=np.float32)


def draw_geometry(recipe: PhantomRecipe, size: float) -> ScanGeometry:
    rng = recipe.generator("geometry")
    wild = recipe.wild
    z_mm, thickness = _positions(recipe, rng)
    tilted = rng.random() < 0.5
    tilt = float(rng.uniform(4.0, 25.0) * (1.0 if rng.random() < 0.85 else -0.6)) if tilted else 0.0
    tilt = tilt if recipe.tilt_deg is None else recipe.tilt_deg
    fov = float(rng.uniform(205.0, 252.0) + wild * rng.uniform(-8.0, 45.0))
    fov = fov if recipe.fov_mm is None else recipe.fov_mm
    lean = rng.normal(7.0, 7.0 + 3.0 * wild)
    pose = rotation(rng.normal(0.0, 5.0 + 5.0 * wild), lean - tilt, rng.normal(0.0, 3.5 + 2.5 * wild))
    return ScanGeometry(
        z_mm=(z_mm * np.float32(size)).astype(np.float32) if z_mm.size > 5 else z_mm,
        thickness_mm=thickness,
        tilt_deg=tilt,
        pixel_mm=fov / recipe.rows,
        centre=(float(rng.normal(4.0, 6.0 + 4.0 * wild)), float(rng.normal(0.0, 4.0 + 5.0 * wild))),
        pose=pose,
    )


def _positions(recipe: PhantomRecipe, rng: Rng) -> tuple[Floats, Floats]:
    count = recipe.slices
    bottom = float(np.clip(rng.normal(-68.0, 13.0), -100.0, -30.0))
    top = float(np.clip(rng.normal(80.0, 7.0), 55.0, 96.0))
    step = float(np.clip((top - bottom) / count, 0.4, 7.5))
    if step * count < 110.0 and count < 100:
        bottom = float(rng.uniform(-60.0, max(-59.0, 60.0 - step * count)))
    steps = np.full(count, step)
    thickness = step * rng.uniform(0.85, 1.05) if rng.random() < 0.75 else step * rng.uniform(0.5, 1.3)
    thick = np.full(count, thickness if recipe.thickness_mm is None else recipe.thickness_mm)
    if count >= 12 and rng.random() < 0.25:
        # Thin through the base, thick above, one odd step between: a routine protocol of single-slice scanners.
        turn = int(count * rng.uniform(0.35, 0.6))
        ratio = rng.uniform(0.5, 0.75)
        above = (step * count - ratio * step * turn) / (count - turn)
        steps[:turn], steps[turn:] = ratio * step, above
        steps[turn] = rng.uniform(0.25, 1.0) * above
        if recipe.thickness_mm is None:
            thick[:turn], thick[turn:] = ratio * thickness, thickness * above / step
    z = bottom + np.cumsum(steps) - steps[0]
    return np.round(z, 3).astype(np.float32), np.round(np.clip(thick, 0.5, 10.0), 2).astype(np.float32)


#: half height and half width of the working grid in plane, mm: a large adult head, turned and leant
_HALF = (122.0, 98.0)


def working_grid(scan: ScanGeometry, voxel_mm: float) -> Grid:
    """Planes parallel to the slices, so dense that each slice averages two or more; rows and columns of `voxel_mm`."""
    thinnest = float(scan.thickness_mm.min())
    step = float(np.clip(thinnest / 2.0, 0.8 * voxel_mm, 1.65 * voxel_mm))
    low = float(scan.z_mm[0] - scan.thickness_mm[0] / 2.0)
    high = float(scan.z_mm[-1] + scan.thickness_mm[-1] / 2.0)
    planes = max(2, int(np.ceil((high - low) / step)) + 1)
    rows, columns = (int(np.ceil(2.0 * half / voxel_mm)) for half in _HALF)
    to_head = scan.pose.T
    step_k = to_head @ np.asarray([0.0, 0.0, step], dtype=np.float32)
    step_r = to_head @ (scan.row_step * np.float32(voxel_mm))
    step_c = to_head @ np.asarray([voxel_mm, 0.0, 0.0], dtype=np.float32)
    corner = (
        to_head @ np.asarray([0.0, 0.0, low], dtype=np.float32)
        - step_r * np.float32((rows - 1) / 2.0)
        - step_c * np.float32((columns - 1) / 2.0)
    )
    return Grid(
        shape=(planes, rows, columns), spacing=(step, voxel_mm, voxel_mm),
        origin=corner, step_k=step_k, step_r=step_r, step_c=step_c,
    )  # fmt: skip


def slice_profile(scan: ScanGeometry, grid: Grid) -> Floats:
    """Weights [S, Z] of the planes in each slice: a box of the slice's thickness with soft shoulders."""
    low = float(scan.z_mm[0] - scan.thickness_mm[0] / 2.0)
    planes = low + grid.spacing[0] * np.arange(grid.shape[0])
    off = np.abs(planes[None, :] - scan.z_mm[:, None])
    half = np.maximum(scan.thickness_mm[:, None] / 2.0, 0.5 * grid.spacing[0])
    weights = np.clip((half - off) / grid.spacing[0] + 0.5, 0.0, 1.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
