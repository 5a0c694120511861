"""Brain, ventricles, cisterns, dura and vessels as functions of points in the head frame.

Every array is a flat list over the points of the cranial cavity (suffix N), float32. Memberships run 0..1.
"""

from dataclasses import dataclass

import numpy as np

from .anatomy import Subject
from .fields import Floats, bump, capsule, ellipsoid, soft


@dataclass(frozen=True, kw_only=True)
class Place:
    """Points of the cavity, in mm."""

    x: Floats
    y: Floats
    z: Floats
    #: below the inner table (vault or base) and below the vault alone
    depth: Floats
    vault: Floats
    #: radius of the inner table over the point's own, at least 1
    lift: Floats


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """What the brain is made of at each point, before any blood."""

    hu: Floats
    #: signed distance to the ventricles' walls (positive inside): lateral right, lateral left, third, fourth
    ventricles: tuple[Floats, Floats, Floats, Floats]
    #: memberships of fluid in ventricles, cisterns (with sylvian and interhemispheric fissures), sulci and surface
    ventricular: Floats
    cisternal: Floats
    sulcal: Floats
    #: membership of brain above the tentorium
    cerebrum: Floats
    #: distance to the falx sheet (signed, to the left) and to the tentorium (signed, upwards)
    falx: Floats
    tent: Floats


def sheet(distance: Floats, half_mm: Floats | float, voxel_mm: float) -> Floats:
    """Share of a voxel filled by a sheet of that half thickness: thin sheets fade, as partial volume makes them."""
    half = np.asarray(half_mm, dtype=np.float32)
    v = np.float32(voxel_mm)
    share: Floats = np.clip(half + 0.5 * v - np.abs(distance), 0.0, np.minimum(2.0 * half, v)) / v
    return share


def ventricle_distances(s: Subject, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Signed distances in mm (positive inside) to the right and left lateral, the third and the fourth ventricle."""
    v = s.ventricles
    k = s.shape
    sides = []
    for sign, factor in ((-1.0, 1.0), (1.0, s.left_ventricle)):
        u = x * sign
        r = v * factor
        occipital = float(np.clip(0.75 + 0.25 * k[9 if sign > 0 else 10], 0.15, 1.4))
        rods = (
            ((13.5, -37, 6), (6.5, -13, 9), (4.6 * r, 4.8 * r), (1.25, 1, 0.85)),
            ((6.5, -13, 12), (12.5, 18, 20), (4.9 * r, 5.4 * r), (1.1, 1, 1)),
            ((12.5, 18, 20), (24, 38, 8), (5.4 * r, 6.6 * r), (1, 1, 1)),
            ((24, 38, 6), (22, 38 + 26 * occipital, 2), (5.8 * r, 1.6 * r), (1, 1, 0.8)),
            ((26, 35, 2), (34, 12, -14), (3.6 * r, 2.2 * r), (1, 1, 1)),
            ((34, 12, -14), (28, -8, -20), (2.0 * r * r, 1.6 * r * r), (1, 1, 1)),
        )
        nearest = np.maximum.reduce([capsule(u, y, z, *rod) for rod in rods])
        sides.append(np.minimum(nearest, u - 0.9))
    third = ellipsoid(x, y, z, (0, -1, -1), (2.0 * v**1.6, 14.5, 9.0)) * np.float32(0.45)
    aqueduct = capsule(x, y, z, (0, 14, -4), (0, 31, -26), (1.1, 1.1))
    fourth = np.maximum(ellipsoid(x, y, z, (0, 37, -34), (7.5 * v**0.5, 5.0 * v**0.6, 9.5)), aqueduct)
    return sides[0], sides[1], np.maximum(third, aqueduct - 0.6), fourth


def build_brain(s: Subject, p: Place, voxel_mm: float, filled: Floats) -> Tissue:
    """Densities and compartments at points given in undeformed anatomy.

    `filled` opens the fluid spaces (up to 1: subarachnoid blood has room even in a tight brain) or closes them
    (down to -1: mass effect).
    """
    d = s.density
    x = p.x * np.float32(69.0 / s.half_width)
    y = p.y * np.float32(84.0 / s.half_length)
    z = p.z * np.where(p.z > 0, np.float32(76.0 / s.up), np.float32(74.0 / s.down))
    side = np.abs(x)
    fine = s.fine.nearest(p.x, p.y, p.z)
    broad = s.large.at(p.x * 1.5, p.y * 1.5, p.z * 1.5)
    labyrinth = s.sulci.at(p.x * p.lift, p.y * p.lift, p.z * p.lift)

    ventricles = ventricle_distances(s, x, y, z)
    nearest = np.maximum(np.maximum(ventricles[0], ventricles[1]), np.maximum(ventricles[2], ventricles[3]))
    nearest = nearest + 0.5 * broad
    ventricular = soft(nearest, voxel_mm)

    # Above and below the tentorium.
    tent_height = np.maximum(-24.0 - 0.04 * side, 5.0 - 0.42 * (y - 22.0) - 0.45 * side)
    behind = y - 4.0 - 0.52 * side
    tent = z - tent_height
    hind = soft(np.minimum(-tent, behind), 2.0)
    incisura = 1.0 - np.sqrt((x / 17.0) ** 2 + ((y - 13.0) / 19.0) ** 2)
    stem = np.maximum(
        np.maximum(ellipsoid(x, y, z, (0, 11, -14), (17, 11.5, 12)), ellipsoid(x, y, z, (0, 15, -32), (16, 12, 15))),
        capsule(x, y, z, (0, 25, -42), (0, 36, -80), (8.5, 6.5), (0.85, 1.0, 1.0)),
    )
    cerebrum = (1.0 - hind) * (1.0 - soft(stem + 1.0, 2.0))

    # Fissures and cisterns.
    closed, widened = 1.0 + np.minimum(filled, 0.0), np.maximum(filled, 0.0)
    open_mm = s.sulcus_mm * closed + 1.4 * widened
    falx = x - s.falx_bend * bump((y + 10.0) / 45.0) - 0.5 * broad
    core = ellipsoid(x, y, z, (0, 2, -4), (26, 40, 28)) + 0.6 * broad
    midline = (
        sheet(falx, 0.35 + 0.7 * open_mm * soft(-y, 60.0) + 0.35 * open_mm, voxel_mm) * soft(-core, 3.0) * cerebrum
    )
    slit = y + 19.0 - 1.3 * np.clip(z + 6.0, -6.0, 40.0) + 0.25 * (side - 50.0) + 4.0 * broad
    sylvian = sheet(slit, 0.5 + 1.3 * open_mm, voxel_mm) * soft(side - 36.0, 3.0) * soft(21.0 - np.abs(z - 4.0), 6.0)
    insula = side - 39.0 + 0.008 * (y + 2.0) ** 2 + 2.2 * broad
    island = soft(24.0 - np.abs(y + 2.0), 4.0) * soft(15.0 - np.abs(z - 5.0), 5.0)
    sylvian = np.maximum(sylvian, sheet(insula, 0.3 + 0.9 * open_mm, voxel_mm) * island) * cerebrum
    room = 1.0 + 2.2 * s.atrophy * closed + 1.2 * widened
    wells = np.maximum.reduce([
        ellipsoid(x, y, z, (0, -9, -19), (13 + room, 7 + 1.5 * room, 5 + room)),
        ellipsoid(x, y, z, (0, 27, -3), (11 + room, 3 + room, 6)),
        ellipsoid(side, y, z, (20, 12, -38), (6 + room, 4 + room, 6)),
        ellipsoid(x, y, z, (0, 64, -60), (9 + 3 * room, 4 + 2 * room, 8 + room)),
        np.minimum(0.35 + 0.55 * room - np.abs(stem + 0.7 * room + 0.8 * broad), np.minimum(y - 5.0, -4.0 - z)),
    ])  # fmt: skip
    wells = wells + 0.7 * broad
    cisternal = np.maximum(soft(wells, 1.3 * voxel_mm), np.maximum(midline, sylvian)) * (1.0 - soft(stem, 1.5))

    # Cortex: gyri around a labyrinth of sulci that runs down from the surface.
    opercular = bump((side - 46.0) / 9.0, (y + 6.0) / 20.0, (z - 4.0) / 13.0)
    deep = (15.0 + 6.0 * broad + 12.0 * opercular) * soft(p.depth + 1.0, 2.0)
    fade = np.clip(1.0 - p.depth / np.maximum(deep, 6.0), 0.0, 1.0)
    half = (
        open_mm * np.sqrt(fade) * (0.75 + 0.55 * broad + 0.35 * soft(-y, 80.0)).clip(0.2, 2.2) * (1.0 + 1.2 * opercular)
    )
    sulcal = sheet(labyrinth, half, voxel_mm) * (fade > 0) * cerebrum
    gap = s.gap_mm * (0.55 + 0.75 * soft(-y, 60.0) + 0.3 * broad).clip(0.15, 2.5) * closed + 0.8 * widened
    surface = soft(gap - p.depth, voxel_mm) * np.clip(gap, 0.0, 1.0)
    sulcal = np.maximum(sulcal, surface)
    ribbon = soft(
        3.3
        + 0.5 * broad
        - np.minimum(np.abs(labyrinth) + 7.0 * np.clip(p.depth / 9.0 - 2.2 - 0.5 * broad, 0.0, 1.0), p.depth - gap),
        1.8,
    )
    insular = (
        soft(3.2 - np.abs(insula + 2.5), 1.6) * soft(26.0 - np.abs(y + 2.0), 4.0) * soft(17.0 - np.abs(z - 5.0), 4.0)
    )
    cingulate = soft(3.0 - np.abs(falx), 1.6) * soft(-core, 3.0)
    deep_grey = np.maximum.reduce([
        soft(ellipsoid(side, y, z, (15.5, -25, 8), (5, 11, 11)), 2.0),
        soft(ellipsoid(side - 0.22 * y, y, z, (25.5, -5, 3), (7.5, 18, 11)), 2.5),
        soft(ellipsoid(side, y, z, (11.5, 9, 6), (9.5, 13, 10)), 2.5),
    ])  # fmt: skip
    cortex = np.maximum(np.maximum(ribbon, insular), cingulate) * cerebrum
    folia = soft(1.2 - np.abs(s.sulci.at(p.x * 3.1, p.y * 3.1, p.z * 3.1)) / 3.1, 1.5)
    cerebellum = hind * (0.35 + 0.6 * soft(14.0 - p.depth + 2.0 * broad, 10.0))
    grey = np.maximum.reduce([cortex, 0.9 * deep_grey * cerebrum, cerebellum, 0.35 * soft(stem, 2.0)])
    hu = d.white + (d.grey - d.white) * np.clip(grey, 0.0, 1.0) + 0.35 * fine + 0.7 * broad
    fluid = np.clip(np.maximum.reduce([ventricular, cisternal, sulcal, 0.35 * s.atrophy * folia * hind]), 0.0, 1.0)
    hu = hu + fluid * (d.csf - hu)
    _paint_dura(hu, s, x, y, z, p, falx, tent, incisura, behind, core, voxel_mm)
    return Tissue(
        hu=hu, ventricles=ventricles, ventricular=ventricular, cisternal=cisternal, sulcal=sulcal, cerebrum=cerebrum,
        falx=falx, tent=np.where(behind > 0, tent, np.float32(99.0)),
    )  # fmt: skip


def _paint_dura(
    hu: Floats, s: Subject, x: Floats, y: Floats, z: Floats, p: Place,
    falx: Floats, tent: Floats, incisura: Floats, behind: Floats, core: Floats, voxel_mm: float,
) -> None:  # fmt: skip
    """Falx, tentorium, venous sinuses and the larger arteries, in place."""
    d = s.density

    def put(member: Floats, value: float) -> None:
        hu[...] += member * (value - hu)

    reach = 24.0 + 22.0 * soft(y - 5.0, 80.0)
    put(sheet(falx, 0.6, voxel_mm) * soft(reach - p.vault, 6.0) * soft(-core - 2.0, 4.0) * soft(tent, 2.0), d.dura)
    put(sheet(tent * 0.85, 0.55, voxel_mm) * soft(behind, 3.0) * soft(-incisura * 17.0, 2.0), d.dura)
    back = soft(y + 40.0, 60.0) * soft(z + 22.0, 8.0)
    sinus = (2.0 + 5.5 * back) - p.vault - 1.6 * np.abs(x + 0.8)
    put(soft(sinus, voxel_mm) * back, d.vessel)
    k = s.shape
    for sign in (-1.0, 1.0):
        calibre = float(np.clip(3.4 + sign * 1.3 * k[11], 1.2, 5.5))
        tube = calibre - np.sqrt((np.maximum(p.vault - 1.5, 0.0)) ** 2 + (z + 23.0) ** 2 * 0.7)
        put(soft(tube, voxel_mm) * soft(x * sign - 3.0, 4.0) * soft(y - 28.0, 8.0), d.vessel)
    put(soft(capsule(x, y, z, (0, 26, 3), (0, 74, -19), (1.9, 2.2)), voxel_mm), d.vessel)
    for start, end, radius in (((0, -1, -16), (0, 6, -44), 1.5), ((7, 12, -50), (2, 8, -44), 1.4)):
        put(soft(capsule(np.abs(x) if start[0] else x, y, z, start, end, (radius, radius)), voxel_mm), d.vessel)
    side = np.abs(x)
    put(soft(capsule(side, y, z, (9, -14, -18), (33, -18, -9), (1.7, 1.0)), voxel_mm), d.vessel)
    put(soft(capsule(side, y, z, (9, -8, -22), (9, -14, -17), (2.2, 1.9)), voxel_mm), d.vessel)
