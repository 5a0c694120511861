"""From the head on its grid to slices as a scanner shows them.

Shapes: S slices, Y X rows and columns of the working grid, H W rows and columns of the image, E = projection.EDGE.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .fields import Floats, Rng, smooth_plane
from .geometry import ScanGeometry, slice_profile
from .grid import Grid
from .projection import EDGE, PITCH, ray_artefacts
from .recipe import PhantomRecipe


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How one scanner and protocol blur, harden and disturb."""

    kernel: str
    blur_mm: float
    edge_gain: float
    noise_hu: float
    noise_blur_mm: float
    hardening: float
    streak_noise: float
    #: share of the bone's density that spills over into its neighbourhood: near (3 mm) and far (14 mm)
    bloom: float
    veil: float
    gain: float
    offset: float
    rest: str
    padding: int | None
    kvp: int


def draw_machine(recipe: PhantomRecipe) -> Machine:
    rng = recipe.generator("machine")
    wild = recipe.wild
    sharp = rng.random() < 0.22
    noise = float(rng.uniform(2.2, 5.0) + wild * max(0.0, rng.normal(1.5, 3.5)))
    if "low_dose" in recipe.mimics:
        noise = float(rng.uniform(7.0, 13.0))
    return Machine(
        kernel="SHARP" if sharp else "STANDARD" if rng.random() < 0.6 else "SOFT",
        blur_mm=float(rng.uniform(0.30, 0.5) if sharp else rng.uniform(0.45, 0.85))
        + wild * float(rng.uniform(0.0, 0.7)),
        edge_gain=float(rng.uniform(0.15, 0.5)) if sharp else 0.0,
        noise_hu=noise if recipe.noise_hu is None else recipe.noise_hu,
        noise_blur_mm=float(rng.uniform(0.2, 0.35) if sharp else rng.uniform(0.35, 0.65))
        + wild * float(rng.uniform(0, 0.5)),
        hardening=3.5 * float(rng.lognormal(0.0, 0.6)),
        streak_noise=float(rng.uniform(1.0, 6.0)),
        bloom=float(rng.uniform(0.0, 0.085) * rng.random() ** 0.5),
        veil=float(rng.uniform(0.0, 0.06) * rng.random() ** 0.5),
        gain=1.0 + wild * float(rng.uniform(-0.05, 0.05)),
        offset=wild * float(rng.uniform(-6.0, 6.0)) + float(rng.normal(0.0, 0.8)),
        rest=("cup", "wide", "flat", "none")[int(rng.choice(4, p=[0.45, 0.25, 0.15, 0.15]))],
        padding=(None, -2000, -1500, -3024)[int(rng.choice(4, p=[0.4, 0.25, 0.2, 0.15]))],
        kvp=int(rng.choice([100, 120, 140], p=[0.1, 0.7, 0.2])),
    )


class Optics:
    """Maps grid planes to image pixels by one matrix for rows and one for columns, blur included."""

    def __init__(self, scan: ScanGeometry, grid: Grid, rows: int) -> None:
        self.pixels = (
            (np.arange(rows) - (rows - 1) / 2.0) * scan.pixel_mm + scan.centre[0],
            (np.arange(rows) - (rows - 1) / 2.0) * scan.pixel_mm + scan.centre[1],
        )
        self.voxel = grid.spacing[1]
        self.places = tuple((np.arange(n) - (n - 1) / 2.0) * self.voxel for n in grid.shape[1:])
        self.coarse = (np.arange(EDGE) - (EDGE - 1) / 2.0) * PITCH

    @staticmethod
    def _matrix(target: Floats, source: Floats, sigma: float) -> Floats:
        step = source[1] - source[0]
        weights = np.exp(-0.5 * ((target[:, None] - source[None, :]) / sigma) ** 2)
        weights *= step / (sigma * np.sqrt(2.0 * np.pi))
        # A narrow Gaussian on a coarse grid sums to a ripple; inside the grid every row must sum to 1.
        return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 0.9), dtype=np.float32)

    def to_image(self, planes_SYX: Floats, blur_mm: float) -> Floats:
        """[S, H, W] from [S, Y, X]; outside of the grid reads 0."""
        sigma = float(np.hypot(blur_mm, 0.40 * self.voxel))
        rows = self._matrix(self.pixels[0], self.places[0], sigma)
        columns = self._matrix(self.pixels[1], self.places[1], sigma)
        return np.asarray(rows @ planes_SYX @ columns.T, dtype=np.float32)

    def to_coarse(self, planes_SYX: Floats) -> Floats:
        """[S, E, E] from [S, Y, X]."""
        sigma = float(np.hypot(0.4 * PITCH, 0.4 * self.voxel))
        rows = self._matrix(self.coarse, self.places[0], sigma)
        columns = self._matrix(self.coarse, self.places[1], sigma)
        return np.asarray(rows @ planes_SYX @ columns.T, dtype=np.float32)

    def from_coarse(self, coarse_SEE: Floats) -> Floats:
        """[S, H, W] from [S, E, E]."""
        rows = self._matrix(self.pixels[0], self.coarse, 0.45 * PITCH)
        columns = self._matrix(self.pixels[1], self.coarse, 0.45 * PITCH)
        return np.asarray(rows @ coarse_SEE @ columns.T, dtype=np.float32)


def scan_head(
    head_ZYX: Floats,
    metal_ZYX: Floats | None,
    scan: ScanGeometry,
    grid: Grid,
    machine: Machine,
    rng: Rng,
    rows: int,
    restless: float,
) -> tuple[Floats, Optics, Floats]:
    """Slices [S, H, W] in HU, the optics for label maps, and the slice profile [S, Z]."""
    profile = slice_profile(scan, grid)
    optics = Optics(scan, grid, rows)
    planes = np.tensordot(profile, head_ZYX, axes=1) + np.float32(1000.0)
    image = optics.to_image(planes, machine.blur_mm)
    if machine.edge_gain:
        # Scanners tame the overshoot beside the skull; unlimited, it would be a black ring of 100 HU.
        detail = machine.edge_gain * (image - optics.to_image(planes, machine.blur_mm + 0.7))
        image += 30.0 * np.tanh(detail / 30.0)
    coarse = optics.to_coarse(planes)
    starved = None if metal_ZYX is None else optics.to_coarse(np.tensordot(profile, metal_ZYX, axes=1))
    errors, relative = ray_artefacts(coarse - 1000.0, rng, machine.hardening, machine.streak_noise, starved)
    bone = np.clip(coarse - 1080.0, 0.0, 2500.0)
    spill = machine.bloom * ndimage.gaussian_filter(bone, (0, 1.1, 1.1)) + machine.veil * ndimage.gaussian_filter(
        bone, (0, 5.0, 5.0)
    )
    head = np.clip(coarse / 400.0, 0.0, 1.0)
    image += optics.from_coarse((errors + spill) * head)
    image -= np.float32(1000.0)
    if restless:
        _move(image, rng, restless, scan.pixel_mm)
    thin = np.sqrt(np.float32(5.0) / np.clip(scan.thickness_mm, 2.0, 10.0))
    image += (
        _grain(image.shape, rng, machine, scan.pixel_mm)
        * np.clip(optics.from_coarse(relative), 0.35, 4.0)
        * (machine.noise_hu * thin[:, None, None])
    )
    image += _rest(optics, machine, rng) * np.clip((-500.0 - image) / 300.0, 0.0, 1.0)
    image = np.maximum(image, np.float32(-1024.0))
    image = image * np.float32(machine.gain) + np.float32(machine.offset)
    return image, optics, profile


def _grain(shape: tuple[int, ...], rng: Rng, machine: Machine, pixel_mm: float) -> Floats:
    """Noise of standard deviation 1, correlated in plane as the kernel does."""
    grain = rng.standard_normal(shape, dtype=np.float32)
    sigma = machine.noise_blur_mm / pixel_mm
    if sigma > 0.25:
        grain = ndimage.gaussian_filter(grain, (0, sigma, sigma), truncate=3.0)
    scaled: Floats = grain / grain[: max(1, shape[0] // 4)].std()
    return scaled


def _move(image: Floats, rng: Rng, restless: float, pixel_mm: float) -> None:
    """A jerk during some slices: the slice is a blend of the head in two or three places, with a doubled rim."""
    for index in range(image.shape[0]):
        if rng.random() < 0.45 * restless:
            total = np.zeros_like(image[index])
            shares = rng.dirichlet((2.0, 1.2, 1.0)).astype(np.float32)
            for share in shares:
                offset = rng.normal(0.0, 2.2 * restless / pixel_mm, 2)
                total += share * ndimage.shift(image[index], offset, order=1, mode="nearest")
            ghost = total - image[index]
            band = np.sin(np.linspace(0, rng.uniform(15, 60), image.shape[1]) + rng.uniform(0, 6))[:, None]
            image[index] = total + 0.02 * np.clip(ghost, -400, 400) * band


def _rest(optics: Optics, machine: Machine, rng: Rng) -> Floats:
    """Head rest and couch in HU above air, [H, W]: they do not change along the table."""
    y, x = optics.pixels[0][:, None], optics.pixels[1][None, :]
    centre = rng.normal(0.0, 3.0)
    rest = np.zeros((y.size, x.size))
    if machine.rest in ("cup", "wide"):
        half = rng.uniform(92, 104) if machine.rest == "cup" else rng.uniform(108, 120)
        bottom = rng.uniform(112, 124)
        high = rng.uniform(-20, 25)
        u = np.abs(x - centre) / half
        v = np.clip(y - high, 0.0, None) / (bottom - high)
        shell = np.abs((u**2.6 + v**2.6) ** (1 / 2.6) - 1.0) * half
        wall = rng.uniform(0.8, 1.8)
        rest = np.clip((wall - shell) / 0.8 + 0.5, 0, 1) * (y > high - 8) * rng.uniform(900, 1250)
        foam = np.clip((shell + 1.0) / 4, 0, 1) * (u**2.6 + v**2.6 < 1.0) * (y > high) * rng.uniform(0, 35)
        rest = np.maximum(rest, foam)
    elif machine.rest == "flat":
        top = rng.uniform(108, 118)
        rest = np.clip(1.6 - np.abs(y - top - 0.002 * (x - centre) ** 2), 0, 1) * rng.uniform(300, 900) + 0.0 * x
    return (rest + 3.0 * smooth_plane(rng, (y.size, x.size), 9.0) * (rest > 60)).astype(np.float32)
