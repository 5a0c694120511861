"""Smooth random fields and soft shapes, all float32.

Shape suffixes: ZYX = the working grid, N = flat list of points, K = edge of a periodic noise block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating]
Rng = np.random.Generator
#: radii along x, y, z in mm; arrays where the radius differs from point to point
Radii = tuple[Floats | float, Floats | float, Floats | float]


@dataclass(frozen=True, kw_only=True)
class NoiseBlock:
    """A periodic cube of noise that can be sampled at any point: mean 0, standard deviation 1 unless said otherwise."""

    values_KKK: Floats
    spacing_mm: float

    def at(self, x_N: Floats, y_N: Floats, z_N: Floats) -> Floats:
        """Values at points in mm, linearly interpolated, periodic."""
        inverse = np.float32(1.0 / self.spacing_mm)
        points = np.stack([z_N * inverse, y_N * inverse, x_N * inverse])
        return ndimage.map_coordinates(self.values_KKK, points, order=1, mode="grid-wrap", output=np.float32)

    def nearest(self, x_N: Floats, y_N: Floats, z_N: Floats) -> Floats:
        """Values at the nearest nodes, several times faster: good enough for texture, whose grain is a voxel anyway."""
        edge = np.int32(self.values_KKK.shape[0])
        inverse = np.float32(1.0 / self.spacing_mm)
        # Far offset instead of floor: truncation then rounds all points of a head the same way.
        k, j, i = ((axis * inverse + np.float32(1024.5)).astype(np.int32) % edge for axis in (z_N, y_N, x_N))
        return np.asarray(self.values_KKK.reshape(-1)[(k * edge + j) * edge + i], dtype=np.float32)


@cache
def _wave_number(edge: int) -> Floats:
    k = np.fft.fftfreq(edge).astype(np.float32)
    kx = np.fft.rfftfreq(edge).astype(np.float32)
    squared = k[:, None, None] ** 2 + k[None, :, None] ** 2 + kx[None, None, :] ** 2
    return np.asarray(np.sqrt(squared), dtype=np.float32)


def bandpass_block(rng: Rng, edge: int, spacing_mm: float, wavelength_mm: float, width: float = 0.3) -> NoiseBlock:
    """Isotropic noise whose power sits in a shell around one wavelength: its zero set is a labyrinth, as gyri are."""
    k0 = spacing_mm / wavelength_mm
    gain = np.exp(-0.5 * ((_wave_number(edge) - k0) / (width * k0)) ** 2)
    return _shaped(rng, edge, spacing_mm, gain)


def lowpass_block(rng: Rng, edge: int, spacing_mm: float, scale_mm: float) -> NoiseBlock:
    """Isotropic noise without detail finer than about `scale_mm`."""
    gain = np.exp(-0.5 * (_wave_number(edge) * (2.5 * scale_mm / spacing_mm)) ** 2)
    gain[0, 0, 0] = 0.0
    return _shaped(rng, edge, spacing_mm, gain)


def _shaped(rng: Rng, edge: int, spacing_mm: float, gain: Floats) -> NoiseBlock:
    white = rng.standard_normal((edge, edge, edge), dtype=np.float32)
    shaped = np.fft.irfftn(np.fft.rfftn(white) * gain, s=white.shape, axes=(0, 1, 2)).astype(np.float32)
    return NoiseBlock(values_KKK=shaped / shaped.std(), spacing_mm=spacing_mm)


def distance_block(block: NoiseBlock, limit_mm: float) -> NoiseBlock:
    """Signed distance in mm to a noise block's zero set, to first order (value over slope), clipped to the limit."""
    padded = np.pad(block.values_KKK, 1, mode="wrap")
    slope = np.stack([np.gradient(padded, block.spacing_mm, axis=axis) for axis in range(3)])
    steep = np.sqrt((slope[:, 1:-1, 1:-1, 1:-1] ** 2).sum(axis=0))
    floor = 0.35 * float(steep.mean())
    near = np.clip(block.values_KKK / np.maximum(steep, floor), -limit_mm, limit_mm)
    return NoiseBlock(values_KKK=near.astype(np.float32), spacing_mm=block.spacing_mm)


def interpolation(source: int, target: int, start: float, step: float) -> Floats:
    """Matrix [target, source] that reads a signal at start, start + step, ... (samples) by cubic B-spline weights."""
    at = start + step * np.arange(target)
    reach = np.abs(at[:, None] - np.arange(source)[None, :])
    near = 2.0 / 3.0 - reach**2 + reach**3 / 2.0
    far = np.clip(2.0 - reach, 0.0, None) ** 3 / 6.0
    weights = np.where(reach < 1.0, near, far)
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9), dtype=np.float32)


def coarsely(field: Callable[[Floats, Floats, Floats], Floats], stride: int, x: Floats, y: Floats, z: Floats) -> Floats:
    """A smooth field over a [Z, Y, X] grid, evaluated at every `stride`-th voxel and interpolated between."""
    thin = (slice(None, None, stride),) * 3
    values = field(np.ascontiguousarray(x[thin]), np.ascontiguousarray(y[thin]), np.ascontiguousarray(z[thin]))
    for axis, size in enumerate(x.shape):
        at = np.minimum(np.arange(size) / stride, values.shape[axis] - 1.0)
        low = np.minimum(at.astype(np.intp), max(values.shape[axis] - 2, 0))
        share = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        high = np.minimum(low + 1, values.shape[axis] - 1)
        values = np.take(values, low, axis) * (1.0 - share) + np.take(values, high, axis) * share
    return values


def smooth_plane(rng: Rng, shape: tuple[int, int], scale_px: float) -> Floats:
    """Noise on a plane, smooth on `scale_px`, standard deviation about 1."""
    coarse = tuple(int(np.ceil(n / scale_px)) + 3 for n in shape)
    out = rng.standard_normal(coarse, dtype=np.float32)
    rows = interpolation(coarse[0], shape[0], 1.0 + float(rng.random()), 1.0 / scale_px)
    columns = interpolation(coarse[1], shape[1], 1.0 + float(rng.random()), 1.0 / scale_px)
    return np.asarray(rows @ out @ columns.T * 2.1, dtype=np.float32)


def soft(inside_mm: Floats, width_mm: float) -> Floats:
    """Membership 0..1 from a signed distance (positive inside), rising over `width_mm`."""
    member: Floats = np.clip(inside_mm * np.float32(1.0 / width_mm) + np.float32(0.5), 0.0, 1.0)
    return member


def bump(*offsets_over_radius: Floats) -> Floats:
    """A Gaussian bell, 1 at the centre."""
    total = offsets_over_radius[0] ** 2
    for offset in offsets_over_radius[1:]:
        total = total + offset**2
    bell: Floats = np.exp(-0.5 * total)
    return bell


def ellipsoid(x: Floats, y: Floats, z: Floats, centre: tuple[float, float, float], radii: Radii) -> Floats:
    """Signed distance in mm to an ellipsoid, positive inside, exact only near its surface."""
    rx, ry, rz = radii
    rho = np.sqrt(((x - centre[0]) / rx) ** 2 + ((y - centre[1]) / ry) ** 2 + ((z - centre[2]) / rz) ** 2)
    depth: Floats = (1.0 - rho) * np.float32((rx * ry * rz) ** (1.0 / 3.0))
    return depth


def capsule(
    x: Floats, y: Floats, z: Floats,
    start: tuple[float, float, float], end: tuple[float, float, float], radius: tuple[float, float],
    squeeze: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Floats:  # fmt: skip
    """Signed distance to a tapering rod, positive inside; `squeeze` > 1 flattens it along that axis."""
    sx, sy, sz = squeeze
    ax, ay, az = start[0] * sx, start[1] * sy, start[2] * sz
    bx, by, bz = end[0] * sx - ax, end[1] * sy - ay, end[2] * sz - az
    px, py, pz = x * sx - ax, y * sy - ay, z * sz - az
    along = np.clip((px * bx + py * by + pz * bz) / (bx * bx + by * by + bz * bz + 1e-6), 0.0, 1.0)
    gap = np.sqrt((px - along * bx) ** 2 + (py - along * by) ** 2 + (pz - along * bz) ** 2)
    depth: Floats = radius[0] + along * (radius[1] - radius[0]) - gap
    return depth
