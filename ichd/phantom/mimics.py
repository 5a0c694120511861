"""What is no bleed: age's and disease's traces, and what fools a reader. None of it is ever labelled."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .anatomy import Subject
from .bleeds import Bleed, ExtraAxial
from .brain import Place, Tissue
from .fields import Floats, Rng, bump, ellipsoid, soft

Painter = Callable[[Floats, Floats | float], None]


def altered_subject(s: Subject, mimics: tuple[str, ...], rng: Rng) -> Subject:
    """Mimics that are a property of the whole person: contrast agent, dense sinuses."""
    d = s.density
    if "contrast" in mimics:
        agent = rng.uniform(40.0, 130.0)
        d = replace(d, vessel=d.vessel + agent, dura=d.dura + 0.25 * agent, grey=d.grey + 3.0, white=d.white + 1.5)
    if "hyperdense_sinus" in mimics:
        d = replace(d, vessel=d.blood + rng.uniform(-6.0, 10.0))
    return replace(s, density=d)


def look_alikes(mimics: tuple[str, ...], s: Subject, rng: Rng) -> list[Bleed]:
    """Extra-axial masses that are painted and push the brain as bleeds do, and are none."""
    out: list[Bleed] = []
    if "hygroma" in mimics:
        for side in (-1.0, 1.0) if rng.random() < 0.6 else (1.0,):
            fluid = s.density.csf + rng.uniform(-1.0, 2.0)
            out.append(_layer(rng, "subdural", side, rng.uniform(3, 9), rng.uniform(60, 95), (fluid, fluid), 0.1))
    if "meningioma" in mimics:
        thick = rng.uniform(8.0, 26.0)
        dense = s.density.grey + rng.uniform(3.0, 11.0)
        side = -1.0 if rng.random() < 0.5 else 1.0
        out.append(_layer(rng, "epidural", side, thick, 0.75 * thick + 6.0, (dense, dense), 0.4))
    return out


def _layer(
    rng: Rng, kind: str, side: float, thick: float, extent: float, density: tuple[float, float], push: float
) -> ExtraAxial:
    azimuth, up = math.radians(rng.uniform(35, 140)), rng.uniform(0.0, 0.6)
    flat = math.sqrt(1.0 - up * up)
    return ExtraAxial(
        kind=kind, toward=(side * flat * math.sin(azimuth), -flat * math.cos(azimuth), up),
        extent=(extent, extent * 0.8),
        thickness=thick, density=density, level=0.0, swirl=0.0, membranes=0.0, shift=thick * push,
        taper=0.6 if kind == "subdural" else 1.0,
    )  # fmt: skip


def paint_disease(hu: Floats, s: Subject, p: Place, tissue: Tissue, mimics: tuple[str, ...], rng: Rng) -> None:
    """Calcification, old infarcts, white matter disease, cysts, a dense artery; undeformed points, in place."""
    d, old = s.density, max(0.0, (s.age - 45.0) / 50.0)
    broad = s.large.at(p.x * 1.3 + 70.0, p.y * 1.3, p.z * 1.3)
    fine = s.fine.nearest(p.x * 0.8, p.y * 0.8, p.z * 0.8)
    side = np.abs(p.x)

    def put(member: Floats, value: Floats | float) -> None:
        hu[...] += np.clip(member, 0.0, 1.0) * (value - hu)

    disease = float(rng.beta(1.2, 3.0)) * old * 2.0
    if "white_matter_disease" in mimics:
        disease = float(rng.uniform(0.7, 1.4))
    if disease > 0.15:
        wall = np.maximum(tissue.ventricles[0], tissue.ventricles[1])
        pale = np.clip(disease * (np.exp(np.minimum(wall, 0.0) / (4.0 + 9.0 * disease)) + 0.25 * broad), 0.0, 1.0)
        pale = pale * tissue.cerebrum * (hu < d.white + 3.5) * (hu > d.white - 6.0)
        hu -= pale * (d.white - d.csf) * 0.55

    infarcts = int(rng.random() < 0.20 * old) + (1 if "old_infarct" in mimics else 0)
    for _ in range(infarcts):
        c = (float(rng.choice([-1, 1])) * rng.uniform(20, 52), rng.uniform(-45, 60), rng.uniform(-12, 45))
        r = rng.uniform(6.0, 24.0)
        gap = ellipsoid(p.x, p.y, p.z, c, (r, r * rng.uniform(0.8, 1.6), r)) + 0.35 * r * broad
        put(soft(gap, 0.35 * r + 2.0) * (p.depth > 0) * (hu < d.vessel) * 0.9, d.csf + rng.uniform(2.0, 13.0) + fine)
    for _ in range(int(rng.poisson(1.2 * old))):
        c = (rng.uniform(-30, 30), rng.uniform(-25, 15), rng.uniform(-5, 25))
        r = rng.uniform(1.5, 4.5)
        put(soft(ellipsoid(p.x, p.y, p.z, c, (r, r * 1.3, r)), 2.0), d.csf + 6.0)
    if "arachnoid_cyst" in mimics:
        way = float(rng.choice([-1, 1]))
        c, r = (
            ((way * 48, -24, -20), rng.uniform(12, 24))
            if rng.random() < 0.6
            else ((way * 14, 68, -45), rng.uniform(12, 22))
        )
        put(soft(ellipsoid(p.x, p.y, p.z, c, (r * 0.8, r, r * 0.8)) + broad, 1.5) * (p.depth > 0), d.csf)
    if "hyperdense_artery" in mimics:
        way = float(rng.choice([-1, 1]))
        u = p.x * way
        tube = 1.9 - np.sqrt((p.y + 14.0 + 0.15 * (u - 9.0)) ** 2 + (p.z + 17.0 - 0.30 * (u - 9.0)) ** 2)
        put(soft(tube, 1.5) * soft(u - 9.0, 2.0) * soft(33.0 - u, 3.0), d.vessel + rng.uniform(12.0, 25.0))
    _paint_calcium(put, s, p, tissue, "calcification" in mimics, rng, broad, fine, side)


def _paint_calcium(
    put: Painter, s: Subject, p: Place, tissue: Tissue, much: bool, rng: Rng, broad: Floats, fine: Floats, side: Floats
) -> None:
    likely = np.clip(s.age / 60.0, 0.05, 1.0) * (1.6 if much else 0.8)
    if rng.random() < 0.75 * likely:
        r = rng.uniform(1.2, 3.6)
        put(soft(ellipsoid(p.x, p.y, p.z, (0.5, 19, 5), (r, r * 1.2, r)) + 0.5 * fine, 1.5), rng.uniform(90, 380))
    for way in (-1.0, 1.0):
        # Plexus: a soft tuft in the atrium, often chalky.
        r = rng.uniform(0.8, 1.3)
        tuft = ellipsoid(p.x * way, p.y, p.z, (21.5, 35, 9), (2.6 * r, 6.5 * r, 4.5 * r)) + 0.4 * broad
        put(soft(tuft, 1.5) * tissue.ventricular, 36.0)
        if rng.random() < 0.7 * likely:
            put(soft(tuft - 0.7 + 0.9 * fine, 1.2) * rng.uniform(0.4, 1.0), rng.uniform(80, 420))
        if rng.random() < (0.6 if much else 0.06):
            spot = ellipsoid(side, p.y, p.z, (20 + rng.normal(0, 1), -3, 1), (4, 9, 4)) + 1.2 * fine
            put(soft(spot, 2.0) * (p.x * way > 0) * rng.uniform(0.2, 0.9), rng.uniform(60, 200))
    if rng.random() < (0.8 if much else 0.22) * likely:
        y0 = rng.uniform(-60, 40)
        plaque = np.minimum(rng.uniform(0.8, 2.2) - np.abs(tissue.falx), 14.0 - np.abs(p.y - y0) - 4.0 + 4.0 * broad)
        put(soft(plaque, 1.2) * soft(22.0 - p.vault, 6.0) * soft(p.z, 6.0), rng.uniform(90, 450))
    if rng.random() < 0.55 * likely:
        put(soft(ellipsoid(side, p.y, p.z, (10, -7, -22), (2.6, 4, 2.2)) + 0.8 * fine, 1.2), rng.uniform(120, 480))
    for _ in range(int(rng.integers(1, 4)) if much else int(rng.random() < 0.05)):
        c, r = (rng.uniform(-45, 45), rng.uniform(-60, 60), rng.uniform(-10, 55)), rng.uniform(0.8, 4.0)
        put(soft(ellipsoid(p.x, p.y, p.z, c, (r, r, r)) + 0.7 * fine, 1.5), rng.uniform(80, 500))
    for _ in range(int(rng.poisson(2.0 * likely))):
        # Pacchionian and dural specks beside the inner table.
        a, up = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.9)
        c = (60 * np.sin(a), 75 * np.cos(a), 70 * up)
        put(
            bump((p.x - c[0]) / 6, (p.y - c[1]) / 6, (p.z - c[2]) / 6) * soft(2.0 - p.depth, 1.0) * 0.8,
            rng.uniform(60, 200),
        )


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A surgical or traumatic change of the vault: bone flap, missing bone, burr hole, or a scalp haematoma over it."""

    toward: tuple[float, float, float]
    radius_mm: float
    kind: str
    dense: float


def draw_openings(mimics: tuple[str, ...], rng: Rng, over: tuple[float, float, float] | None) -> list[Opening]:
    """`over`: the direction of an epidural bleed, where a scalp haematoma and a fracture are likely."""
    out = []

    def anywhere() -> tuple[float, float, float]:
        azimuth, up = rng.uniform(-2.6, 2.6), rng.uniform(-0.1, 0.7)
        flat = math.sqrt(1.0 - up * up)
        return (flat * math.sin(azimuth), -flat * math.cos(azimuth), up)

    if "craniotomy" in mimics:
        kind = str(rng.choice(["flap", "flap", "missing", "burr"]))
        out.append(
            Opening(toward=anywhere(), radius_mm=rng.uniform(20, 42) if kind != "burr" else 7.0, kind=kind, dense=0.0)
        )
    if "scalp_haematoma" in mimics or (over and rng.random() < 0.6):
        where = over if over and "scalp_haematoma" not in mimics else anywhere()
        out.append(Opening(toward=where, radius_mm=rng.uniform(16, 42), kind="scalp", dense=rng.uniform(50, 75)))
    if over and rng.random() < 0.5:
        out.append(Opening(toward=over, radius_mm=rng.uniform(20, 45), kind="fracture", dense=rng.uniform(-1.5, 1.5)))
    return out


def arc_mm(o: Opening, x: Floats, y: Floats, z: Floats) -> Floats:
    """Distance along the vault from an opening's middle."""
    radius = np.sqrt(x * x + y * y + z * z) + np.float32(1e-3)
    cosine = (x * o.toward[0] + y * o.toward[1] + z * o.toward[2]) / radius
    arc: Floats = np.arccos(np.clip(cosine, -1.0, 1.0)) * np.float32(78.0)
    return arc
