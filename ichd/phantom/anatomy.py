"""A person's head before any disease: sizes, densities, and the shell (vault, base, scalp) that holds the brain.

Frame: x to the patient's left, y to posterior, z to superior, mm, origin in the middle of the cranial cavity
(about the anterior end of the thalami). Suffix N = flat list of points.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .fields import (
    Floats,
    NoiseBlock,
    Rng,
    bandpass_block,
    bump,
    coarsely,
    distance_block,
    ellipsoid,
    lowpass_block,
    soft,
)
from .recipe import PhantomRecipe


@dataclass(frozen=True, kw_only=True)
class Densities:
    """Hounsfield units of the tissues, from practice at 120-140 kV; `wild` widens them but keeps their order."""

    white: float
    grey: float
    csf: float
    blood: float
    vessel: float
    dura: float
    muscle: float
    fat: float
    cortical: float
    diploe: float


def draw_densities(rng: Rng, wild: float) -> Densities:
    contrast = rng.uniform(6.0, 10.5) * (1 - wild) + rng.uniform(2.0, 14.0) * wild
    white = rng.uniform(24.0, 30.0) + wild * rng.uniform(-4.0, 5.0)
    grey = white + contrast
    return Densities(
        white=white,
        grey=grey,
        csf=rng.uniform(3.0, 11.0) + wild * rng.uniform(-4.0, 5.0),
        blood=grey + rng.uniform(18.0, 33.0) + wild * rng.uniform(-6.0, 10.0),
        vessel=grey + rng.uniform(6.0, 16.0) + wild * rng.uniform(-3.0, 4.0),
        dura=grey + rng.uniform(8.0, 22.0),
        muscle=rng.uniform(48.0, 62.0),
        fat=rng.uniform(-105.0, -75.0),
        cortical=rng.uniform(1150.0, 1750.0),
        diploe=rng.uniform(300.0, 800.0),
    )


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One person: every size in mm, drawn once."""

    age: float
    #: 0 = tight young brain, 1 = severe loss of volume
    atrophy: float
    density: Densities
    half_width: float
    half_length: float
    up: float
    down: float
    #: coefficients of the direction polynomials that make the vault a skull and not an ellipsoid
    shape: tuple[float, ...]
    skull_mm: float
    scalp_mm: float
    sulcus_mm: float
    gap_mm: float
    ventricles: float
    frontal_sinus: float
    pneumatised: float
    #: uneven halves: factor of the left lateral ventricle, tilt of the falx
    left_ventricle: float
    falx_bend: float
    #: large-scale noise, gyral labyrinth (mm to the nearest sulcus), fine texture
    large: NoiseBlock
    sulci: NoiseBlock
    fine: NoiseBlock

    @property
    def size(self) -> float:
        """This cavity's size over an average adult's."""
        return (self.half_width / 69.0 + self.half_length / 84.0 + self.up / 76.0) / 3.0


def draw_subject(recipe: PhantomRecipe) -> Subject:
    rng = recipe.generator("subject")
    wild = recipe.wild
    drawn = rng.uniform(1.0, 17.0) if rng.random() < 0.04 + 0.08 * wild else rng.uniform(18.0, 95.0)
    age = drawn if recipe.age is None else recipe.age
    atrophy = float(np.clip((age - 40.0) / 70.0 + rng.normal(0.0, 0.2), 0.0, 1.0))
    if "atrophy" in recipe.mimics:
        atrophy = float(rng.uniform(0.7, 1.0))
    grown = 0.80 + 0.2 * min(1.0, age / 8.0)
    index = rng.normal(0.0, 0.035 + 0.03 * wild)
    scale = grown * rng.normal(1.0, 0.035)
    return Subject(
        age=age,
        atrophy=atrophy,
        density=draw_densities(rng, wild),
        half_width=69.0 * scale * (1.0 + index),
        half_length=84.0 * scale * (1.0 - index),
        up=76.0 * scale * rng.normal(1.0, 0.035),
        down=74.0 * scale,
        shape=tuple(rng.normal(0.0, 1.0, 12).tolist()),
        skull_mm=(1.5 + 4.5 * min(1.0, age / 20.0)) * rng.uniform(0.7, 1.25),
        scalp_mm=rng.uniform(3.5, 8.0),
        sulcus_mm=0.25 + 1.6 * atrophy**1.2 * rng.uniform(0.7, 1.3),
        gap_mm=0.15 + 2.6 * atrophy**2 * rng.uniform(0.3, 1.4),
        ventricles=float((0.72 + 0.85 * atrophy) * rng.lognormal(0.0, 0.16)),
        frontal_sinus=float(np.clip(rng.normal(0.7, 0.45), 0.0, 1.6)) * min(1.0, age / 15.0),
        pneumatised=float(rng.uniform(0.2, 1.0)),
        left_ventricle=float(rng.normal(1.0, 0.09)),
        falx_bend=float(rng.normal(0.0, 1.2)),
        large=lowpass_block(rng, 32, 8.0, 18.0),
        sulci=distance_block(bandpass_block(rng, 64, 3.4, rng.uniform(19.0, 25.0), 0.32), 12.0),
        fine=lowpass_block(rng, 64, 1.1, 1.6),
    )


@dataclass(frozen=True, kw_only=True)
class Shell:
    """Where every voxel lies between brain and air; each array [Z, Y, X], mm."""

    #: depth below the inner table of the vault alone, along the radius; negative outside
    vault: Floats
    #: depth inside the cranial cavity (vault and base); negative outside
    depth: Floats
    #: skull thickness there, and thickness of the scalp
    bone_mm: Floats
    #: depth below the skin; negative in air
    skin: Floats
    #: distance from the frame's origin, and radius of the inner table in that direction
    radius: Floats
    reach: Floats


def build_shell(s: Subject, x: Floats, y: Floats, z: Floats) -> Shell:
    """The vault as a star-shaped surface, the base as a height map below it, skull and scalp around both."""
    radius = np.sqrt(x * x + y * y + z * z) + np.float32(1e-3)
    ux, uy, uz = x / radius, y / radius, z / radius
    below = np.float32(1.0 / s.down) + (uz > 0) * np.float32(1.0 / s.up - 1.0 / s.down)
    norm = np.sqrt((ux / s.half_width) ** 2 + (uy / s.half_length) ** 2 + (uz * below) ** 2)
    k = s.shape
    xx, yy = ux * ux, uy * uy
    wobble = (
        (0.20 + 0.04 * k[0]) * xx * yy + (0.045 + 0.02 * k[1]) * uy * xx + 0.012 * k[2] * ux * uy
        + 0.010 * k[3] * ux + (0.10 + 0.03 * k[4]) * (xx + yy) * uz * uz + 0.012 * k[5] * ux * uz
        + 0.020 * k[6] * uy * uz + 0.03 * k[7] * yy * uy * uz
    )  # fmt: skip
    uneven = coarsely(lambda a, b, c: s.large.at(a * 55.0, b * 55.0, c * 55.0), 3, ux, uy, uz)
    reach = (1.0 + wobble + 0.006 * uneven) / norm
    vault = reach - radius
    floor, base_mm = _base(s)
    low = np.flatnonzero((z < 25.0) & (vault > -25.0))
    height: Floats = np.full(z.size, 99.0, dtype=np.float32)
    base_here: Floats = np.zeros(z.size, dtype=np.float32)
    xl, yl = x.reshape(-1)[low], y.reshape(-1)[low]
    height[low] = z.reshape(-1)[low] - _look_up(floor, xl, yl)
    base_here[low] = _look_up(base_mm, xl, yl)
    height, base_here = height.reshape(z.shape), base_here.reshape(z.shape)
    depth = np.minimum(vault, height * np.float32(0.92))

    # Thick at the forehead and the occiput, thin at the temples, uneven everywhere.
    thick = s.skull_mm * (
        1.0 + 0.35 * bump((uy + 1.0) / 0.35, uz / 0.5) + 0.40 * bump((uy - 1.0) / 0.25, (uz + 0.25) / 0.3)
        - 0.45 * bump((np.abs(ux) - 0.95) / 0.25, (uz + 0.25) / 0.35) + 0.15 * uneven + 0.1 * uz
    )  # fmt: skip
    sinus = s.frontal_sinus * bump(ux / 0.26, (uy + 0.95) / 0.25, (uz + 0.12) / 0.14)
    thick = np.maximum(thick, 1.2) + 9.0 * sinus
    bone_mm = np.where(height < vault, np.maximum(0.3 * (thick - 9.0 * sinus), base_here), thick)

    scalp = s.scalp_mm * (
        1.0 + 0.9 * bump((np.abs(ux) - 0.9) / 0.25, (uy + 0.25) / 0.35, (uz + 0.15) / 0.3)
        + 0.6 * bump((uy - 0.9) / 0.3, (uz + 0.35) / 0.3) + 0.12 * uneven
    )  # fmt: skip
    skin = vault + thick + scalp
    return Shell(vault=vault, depth=depth, bone_mm=bone_mm, skin=skin, radius=radius, reach=reach)


_TABLE_MM = 2.0
_TABLE_EDGE = 121


def _look_up(table: Floats, x: Floats, y: Floats) -> Floats:
    points = np.stack([y / _TABLE_MM + _TABLE_EDGE // 2, x / _TABLE_MM + _TABLE_EDGE // 2])
    return ndimage.map_coordinates(table, points, order=1, mode="nearest", output=np.float32)


def _base(s: Subject) -> tuple[Floats, Floats]:
    """Height of the cranial floor and thickness of the bone beneath it, each [121, 121] over (y, x) in 2 mm steps."""
    line = (np.arange(_TABLE_EDGE, dtype=np.float32) - _TABLE_EDGE // 2) * _TABLE_MM / np.float32(s.size)
    y, x = np.meshgrid(line, line, indexing="ij")
    side = np.abs(x)
    k = s.shape
    frontal = -24.0 + 9.0 * bump((side - 31.0) / 12.0, (y + 55.0) / 22.0) - 4.0 * bump(x / 6.0) - 0.10 * (y + 50.0)
    middle = -41.0 + 22.0 * bump(x / 13.0) + 6.0 * soft(side - 58.0, 10.0)
    sella = -7.0 * bump(x / 7.0, (y + 6.0) / 5.0) + 5.0 * bump(x / 7.0, (y - 2.0) / 2.5)
    hind = -63.0 + 0.010 * (side - 8.0) ** 2 + 0.006 * np.clip(y - 50.0, 0.0, None) ** 2
    ridge_y = 2.0 + (0.55 + 0.05 * k[8]) * side
    front = soft(-(y + 27.0 + 0.12 * side), 7.0)
    rear = soft(y - ridge_y - 9.0 * bump(x / 16.0), 14.0)
    floor = front * frontal + (1.0 - front) * (rear * hind + (1.0 - rear) * (middle + sella))
    crest = -19.0 - 0.10 * side - 0.16 * (y - ridge_y) ** 2 - 0.05 * np.clip(14.0 - side, 0.0, None) ** 2
    floor = np.maximum(floor, np.where(side > 9.0, crest, -99.0))
    floor = floor + 0.8 * s.large.at(x * 2.0, y * 2.0, np.full_like(x, 17.0))
    floor = ndimage.gaussian_filter(floor, 0.8)
    opening = soft(1.0 - np.sqrt((x / 15.0) ** 2 + ((y - 36.0) / 18.0) ** 2), 0.15)
    floor = floor - 260.0 * opening
    petrous = bump((y - ridge_y - 2.0) / 8.0) * soft(side - 10.0, 6.0)
    thick = 4.0 + 20.0 * petrous + 9.0 * bump(x / 12.0, (y - 14.0) / 10.0) - 2.6 * front
    scale = np.float32(s.size)
    return (floor * scale).astype(np.float32), (thick * scale).astype(np.float32)


__all__ = ["Densities", "Shell", "Subject", "build_shell", "draw_subject", "ellipsoid"]
