"""Bleeds of five kinds: where each lies, how it moves the brain, and what it paints.

A bleed acts twice. First `deform` says where the brain now at a point came from (mass effect, room for the clot); then,
when the brain stands, `paint` writes blood and returns its membership. Suffix N = points of the cranial cavity.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from .anatomy import Subject
from .brain import Place, Tissue, sheet
from .fields import Floats, bump, ellipsoid, soft

Point = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """What a bleed paints on: the densities at the points of the cavity, changed in place, and what lies there."""

    hu: Floats
    subject: Subject
    place: Place
    tissue: Tissue
    voxel_mm: float


class Bleed(Protocol):
    """What every bleed can do: paint itself and say where."""

    @property
    def kind(self) -> str: ...

    def paint(self, canvas: Canvas) -> Floats:
        """Write blood into `canvas.hu`; returns the membership of blood (0..1) at each point."""
        ...


@runtime_checkable
class Displacing(Protocol):
    """A bleed with mass effect."""

    def deform(self, p: Place, moved: Place) -> Place:
        """`moved` with this bleed's displacement added: where the brain now at `p` lay before."""
        ...


@runtime_checkable
class Spacing(Protocol):
    """A bleed that opens (up to 1) or effaces (down to -1) the fluid spaces around it."""

    def room(self, p: Place) -> Floats: ...


@dataclass(frozen=True, kw_only=True)
class ExtraAxial:
    """A lens (epidural) or a crescent (subdural) between inner table and brain."""

    kind: str
    #: unit direction of the thickest place, and half lengths along the horizontal and the vertical arc, mm
    toward: Point
    extent: tuple[float, float]
    thickness: float
    #: of the upper and of the lower (posterior) part when there is a level, HU; equal without one
    density: tuple[float, float]
    level: float
    swirl: float
    membranes: float
    shift: float
    #: how the thickness falls towards the rim: 0.4 a sheet, 1 a lens
    taper: float

    def local(self, p: Place) -> tuple[Floats, Floats]:
        """Thickness of the clot over each point, and the point's depth below the inner table there."""
        n = np.asarray(self.toward, dtype=np.float32)
        e1 = np.cross(np.asarray((0.0, 0.0, 1.0), dtype=np.float32), n)
        e1 /= max(float(np.linalg.norm(e1)), 1e-6)
        e2 = np.cross(n, e1)
        radius = np.sqrt(p.x**2 + p.y**2 + p.z**2) + np.float32(1e-3)
        ahead = (p.x * n[0] + p.y * n[1] + p.z * n[2]) / radius
        across = (p.x * e1[0] + p.y * e1[1] + p.z * e1[2]) / radius
        upward = np.clip((p.x * e2[0] + p.y * e2[1] + p.z * e2[2]) / radius, -1.0, 1.0)
        arc = np.arctan2(across, ahead) * np.float32(75.0)
        rise = np.arcsin(upward) * np.float32(75.0)
        q = (arc / self.extent[0]) ** 2 + (rise / self.extent[1]) ** 2
        thick = self.thickness * np.clip(1.0 - q, 0.0, 1.0) ** self.taper
        if self.kind == "subdural":
            thick = thick * soft(np.sign(n[0]) * p.x - 5.0, 8.0)
        return thick.astype(np.float32), p.vault

    def deform(self, p: Place, moved: Place) -> Place:
        thick, below = self.local(p)
        near = np.exp(-np.clip(below - thick, 0.0, None) / np.float32(16.0))
        inverse = thick * near / (np.sqrt(p.x**2 + p.y**2 + p.z**2) + np.float32(1.0))
        n = np.asarray(self.toward, dtype=np.float32)
        centre = n * np.float32(40.0)
        far = bump((p.x - centre[0]) / 52.0, (p.y - centre[1]) / 62.0, (p.z - centre[2]) / 48.0) * (1.0 - near)
        bulk = np.float32(self.shift) * far
        return replace(
            moved,
            x=moved.x + p.x * inverse + bulk * n[0],
            y=moved.y + p.y * inverse + 0.4 * bulk * n[1],
            z=moved.z + p.z * inverse + 0.4 * bulk * n[2],
            depth=moved.depth - thick * near,
            vault=moved.vault - thick * near,
        )

    def room(self, p: Place) -> Floats:
        n = np.asarray(self.toward, dtype=np.float32) * 50.0
        return -min(1.0, self.thickness / 14.0) * bump((p.x - n[0]) / 45.0, (p.y - n[1]) / 60.0, (p.z - n[2]) / 50.0)

    def paint(self, canvas: Canvas) -> Floats:
        hu, s, p, voxel_mm = canvas.hu, canvas.subject, canvas.place, canvas.voxel_mm
        thick, below = self.local(p)
        wavy = s.large.at(p.x * 2.5, p.y * 2.5, p.z * 2.5)
        edge = thick * (1.0 + 0.10 * wavy)
        member = soft(np.minimum(edge - below, p.depth + 0.6), voxel_mm) * np.clip(edge / voxel_mm, 0.0, 1.0)
        blend = soft(p.y - self.level, 5.0) if self.density[0] != self.density[1] else np.float32(0.0)
        value = self.density[0] + blend * (self.density[1] - self.density[0]) + 1.2 * s.fine.nearest(p.x, p.y, p.z)
        if self.swirl:
            value = value - self.swirl * soft(wavy - 0.3, 0.8)
        if self.membranes:
            wall = np.maximum.reduce([
                sheet(edge - below - 0.6, 0.7, voxel_mm),
                sheet(s.sulci.at(p.x * 0.5, p.y * 0.5, p.z * 0.5), 0.4, voxel_mm),
                sheet(wavy + 0.4, 0.05, 0.2) * 0.8,
            ])  # fmt: skip
            value = value + self.membranes * wall
        hu += member * (value - hu)
        return member


@dataclass(frozen=True, kw_only=True)
class DuralLayer:
    """Subdural blood along the falx or the tentorium."""

    along: str
    side: float
    thickness: float
    density: float
    #: y range of the layer, mm
    span: tuple[float, float]
    kind: str = "subdural"

    def paint(self, canvas: Canvas) -> Floats:
        hu, s, p, voxel_mm = canvas.hu, canvas.subject, canvas.place, canvas.voxel_mm
        length = soft(np.minimum(p.y - self.span[0], self.span[1] - p.y), 12.0)
        wavy = 1.0 + 0.25 * s.large.at(p.x * 2.0, p.y * 2.0, p.z * 2.0)
        tissue = canvas.tissue
        reach: Floats
        if self.along == "falx":
            off, reach = tissue.falx * self.side, soft(40.0 - p.vault, 8.0) * soft(tissue.tent, 3.0)
        else:
            off, reach = tissue.tent * 0.85, soft(p.x * self.side - 7.0, 4.0) * (tissue.tent < 90)
        thick = self.thickness * wavy * length
        member = (
            soft(np.minimum(thick - off, off + 0.2), voxel_mm) * reach * np.clip(thick / voxel_mm, 0, 1) * (p.depth > 0)
        )
        hu += member * (self.density + s.fine.nearest(p.x, p.y, p.z) - hu)
        return member


@dataclass(frozen=True, kw_only=True)
class Parenchymal:
    """A ragged clot in the brain with its halo of oedema."""

    centre: Point
    radii: Point
    ragged: float
    density: float
    halo_mm: float
    halo_hu: float
    swirl: float
    push: float
    kind: str = "intraparenchymal"

    def _gap(self, s: Subject, p: Place) -> Floats:
        size = float(np.cbrt(np.prod(self.radii)))
        scale = max(0.9, 9.0 / size)
        rough = s.large.at(p.x * scale + 31.0, p.y * scale, p.z * scale) + 0.35 * s.fine.nearest(
            p.x * 0.4, p.y * 0.4, p.z * 0.4
        )
        return ellipsoid(p.x, p.y, p.z, self.centre, self.radii) + self.ragged * size * rough

    def deform(self, p: Place, moved: Place) -> Place:
        c, r = self.centre, float(np.cbrt(np.prod(self.radii)))
        dx, dy, dz = p.x - c[0], p.y - c[1], p.z - c[2]
        away = np.sqrt(dx * dx + dy * dy + dz * dz) + np.float32(1e-3)
        from_ = np.cbrt(np.clip(away**3 - self.push * r**3 * bump(away / (4.5 * r + 15.0)), 0.0, None))
        pull = from_ / away - 1.0
        tame = soft(p.depth, 8.0)
        return replace(moved, x=moved.x + dx * pull * tame, y=moved.y + dy * pull * tame, z=moved.z + dz * pull * tame)

    def room(self, p: Place) -> Floats:
        r = float(np.cbrt(np.prod(self.radii))) + 8.0
        c = self.centre
        return (
            -0.7
            * min(1.0, r / 25.0)
            * bump((p.x - c[0]) / (1.4 * r), (p.y - c[1]) / (1.4 * r), (p.z - c[2]) / (1.4 * r))
        )

    def paint(self, canvas: Canvas) -> Floats:
        hu, s, p, voxel_mm = canvas.hu, canvas.subject, canvas.place, canvas.voxel_mm
        gap = self._gap(s, p)
        inside = p.depth > 0
        broad = s.large.at(p.x * 1.7, p.y * 1.7, p.z * 1.7)
        halo = soft(gap + self.halo_mm * (1.0 + 0.5 * broad), 0.8 * self.halo_mm + 1.0) * inside
        wet = np.minimum(hu, s.density.white - self.halo_hu)
        hu += halo * np.where(hu < s.density.grey + 6, 1.0, 0.0) * (wet - hu)
        value = self.density + 2.0 * s.fine.nearest(p.x * 0.6, p.y * 0.6, p.z * 0.6) + 2.5 * broad
        value = value - self.swirl * soft(broad - 0.4, 0.8)
        member = soft(gap, voxel_mm) * inside
        hu += member * (value - hu)
        return member


@dataclass(frozen=True, kw_only=True)
class Ventricular:
    """Blood in the ventricles: lying on their dependent (posterior) walls, or a cast of them."""

    #: whether right lateral, left lateral, third and fourth hold blood, and the y above (behind) which they do
    level: tuple[float, float, float, float]
    density: float
    sharp_mm: float
    kind: str = "intraventricular"

    def paint(self, canvas: Canvas) -> Floats:
        hu, s, p, voxel_mm = canvas.hu, canvas.subject, canvas.place, canvas.voxel_mm
        broad = s.large.at(p.x * 2.5, p.y * 2.5, p.z * 2.5)
        total = np.zeros_like(hu)
        for wall, level in zip(canvas.tissue.ventricles, self.level, strict=True):
            if level < 90.0:
                lying = soft(p.y - level + (3.0 * broad if level < -60 else 0.8 * broad), self.sharp_mm)
                total = np.maximum(total, soft(wall + 0.3, voxel_mm) * lying)
        hu += total * (self.density + 2.0 * broad + s.fine.nearest(p.x, p.y, p.z) - hu)
        return total


@dataclass(frozen=True, kw_only=True)
class Subarachnoid:
    """Blood in cisterns, fissures and sulci, thick near its spots and fading away from them."""

    #: centre and radius of each spot, mm
    spots: tuple[tuple[Point, float], ...]
    density: float
    cisterns: float
    sulci: float
    kind: str = "subarachnoid"

    def _near(self, p: Place) -> Floats:
        near = np.zeros_like(p.x)
        for (cx, cy, cz), radius in self.spots:
            near = np.maximum(near, bump((p.x - cx) / radius, (p.y - cy) / radius, (p.z - cz) / radius))
        reached: Floats = np.clip(1.6 * near - 0.25, 0.0, 1.0)
        return reached

    def room(self, p: Place) -> Floats:
        return self._near(p)

    def paint(self, canvas: Canvas) -> Floats:
        hu, s, p, tissue = canvas.hu, canvas.subject, canvas.place, canvas.tissue
        patchy = np.clip(0.9 + 0.35 * s.large.at(p.x * 2.0, p.y * 2.0, p.z * 2.0), 0.0, 1.0)
        fluid = np.maximum(self.cisterns * tissue.cisternal, self.sulci * tissue.sulcal) * (1.0 - tissue.ventricular)
        member: Floats = np.clip(1.5 * self._near(p) * patchy * fluid, 0.0, 1.0) * (p.depth > -0.5)
        hu += member * (self.density - s.density.csf)
        return member
