"""The working grid: planes parallel to the slices, so that thick slices are sums of planes and tilt costs nothing."""

from dataclasses import dataclass

import numpy as np

from .fields import Floats


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Planes k, rows r, columns c; every voxel's place in the head's own frame is affine in (k, r, c).

    The head's frame is LPS-like in mm (x to the patient's left, y to posterior, z to superior) with its origin in the
    middle of the cranial cavity.
    """

    shape: tuple[int, int, int]
    #: mm between planes along the table, between rows and between columns in plane
    spacing: tuple[float, float, float]
    #: head frame position of voxel (0, 0, 0), and the step to the next plane, row, column
    origin: Floats
    step_k: Floats
    step_r: Floats
    step_c: Floats

    def coordinates(self) -> tuple[Floats, Floats, Floats]:
        """x, y, z in the head frame, each [Z, Y, X] in mm."""
        planes, rows, columns = (np.arange(n, dtype=np.float32) for n in self.shape)
        axes = []
        for axis in range(3):
            k = planes * self.step_k[axis] + self.origin[axis]
            axes.append(
                k[:, None, None]
                + (rows * self.step_r[axis])[None, :, None]
                + (columns * self.step_c[axis])[None, None, :]
            )
        return axes[0], axes[1], axes[2]


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Floats:
    """Head frame to patient frame: turned (about z), nodded (about x), leant (about y)."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.deg2rad([yaw_deg, pitch_deg, roll_deg])) for f in (np.cos, np.sin))
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    return np.asarray(about_z @ about_x @ about_y, dtype=np.float32)
