"""Everything outside the brain: skull, base, face, neck and scalp, painted into the volume."""

import numpy as np

from .anatomy import Shell, Subject
from .fields import Floats, Rng, bump, capsule, ellipsoid, soft


def envelope(s: Subject, shell: Shell, x: Floats, y: Floats, z: Floats) -> Floats:
    """Depth below the skin of head, face, nose, neck and ears, mm, negative in air; [Z, Y, X]."""
    low = z < 15.0
    skin = shell.skin.copy()
    xl, yl, zl = x[low], y[low], z[low]
    g = s.size
    drop = np.clip(-zl, 0.0, 120.0)
    width = (72.0 - 0.05 * drop + 5.0 * bump((drop - 95.0) / 30.0)) * g
    length = (97.0 - 0.10 * drop) * g
    face = (1.0 - np.sqrt((xl / width) ** 2 + ((yl + (6.0 + 0.06 * drop) * g) / length) ** 2)) * np.float32(75.0 * g)
    face = np.minimum(face, (6.0 * g - zl) * 0.8)
    nose = capsule(xl, yl, zl, (0, -88 * g, -24 * g), (0, -108 * g, -62 * g), (7.0 * g, 11.0 * g))
    outer = np.maximum(np.maximum(skin[low], face), nose)
    for sign in (-1.0, 1.0):
        tilt = sign * xl - 0.35 * (yl - 15.0 * g)
        lobe = ellipsoid(
            tilt, yl, zl, (s.half_width + s.skull_mm + s.scalp_mm + 2.0, 16 * g, -36 * g), (9, 17 * g, 28 * g)
        )
        pinna = 1.7 - np.abs(lobe - 1.5)
        outer = np.maximum(outer, np.where(tilt > s.half_width, pinna, -9.0))
    skin[low] = outer
    return skin


def paint_bone(hu: Floats, s: Subject, shell: Shell, voxel_mm: float, x: Floats, y: Floats, z: Floats) -> None:
    """Skull with tables and diploe, and the frontal sinus between them; flat arrays, in place."""
    d = s.density
    deep = -shell.depth  # mm above the inner table
    thick = shell.bone_mm
    table = np.minimum(deep, thick - deep)
    texture = s.fine.nearest(x, y, z)
    marrow = d.diploe * (1.0 + 0.35 * texture) + 100.0
    hard = soft(1.5 + 0.05 * s.skull_mm - table, 1.0)
    bone = marrow + hard * (d.cortical * (1.0 + 0.06 * texture) - marrow)
    void = s.frontal_sinus * bump(x / (22.0 * s.size), (z + 10.0) / (15.0 * s.size)) * (y < 0)
    air = soft(np.minimum(table - 2.2, 6.0 * void - 2.0 + 1.2 * texture), 1.2)
    bone = bone + air * (-900.0 - bone)
    hole = soft(1.1 - np.sqrt((x / (15.0 * s.size)) ** 2 + (y / s.size - 36.0) ** 2 / 324.0), 0.2) * (
        z < -50.0 * s.size
    )
    member = soft(np.minimum(deep, thick - deep), voxel_mm) * (1.0 - hole)
    hu += member * (bone - hu)


def paint_soft(hu: Floats, s: Subject, skin: Floats, above_bone: Floats, x: Floats, y: Floats, z: Floats) -> None:
    """Scalp, fat and muscle between skin and bone; flat arrays, in place."""
    d = s.density
    side = np.abs(x)
    body = s.large.at(side * 2.2, y * 2.2, z * 1.2) + 0.35 * s.fine.nearest(side * 0.35, y * 0.35, z * 0.2)
    fibre = s.fine.nearest(side * 0.6, y * 0.35, z * 0.15)
    flesh = soft(body + 0.45 + 0.5 * fibre, 0.6)
    temple = bump((side - s.half_width - 6.0) / 12.0, (y + 22.0) / 24.0, (z + 12.0) / 24.0) + bump(
        (y - s.half_length) / 22.0, (z + 45.0) / 22.0
    )
    low = soft(-z - 28.0, 20.0)
    muscle = np.clip(
        np.maximum(low * flesh, np.clip((2.2 * temple - 0.2) * (0.75 + 0.5 * body + 0.3 * fibre), 0.0, 1.0)), 0.0, 1.0
    )
    fat_mm = (0.45 + 0.5 * low) * s.scalp_mm
    muscle = muscle * soft(skin - fat_mm - 1.0, 2.0)
    muscle = np.maximum(muscle, soft(1.6 - above_bone, 1.2))
    tissue = d.fat + muscle * (d.muscle - d.fat + 4.0 * body)
    tissue = tissue + soft(2.8 - skin, 1.0) * (55.0 - tissue)
    hu += soft(skin, 1.0) * (tissue - hu)


def paint_face(hu: Floats, s: Subject, rng: Rng, skin: Floats, x: Floats, y: Floats, z: Floats) -> None:
    """Orbits, nose, sinuses, mastoid cells, jaw and the upper neck; flat arrays below the vault, in place."""
    d, g = s.density, np.float32(s.size)
    x, y, z = x / g, y / g, z / g
    side = np.abs(x)
    inside = skin > 1.5
    cells = s.sulci.at(x * 2.6, y * 2.6, z * 2.6) / 2.6
    texture = s.fine.nearest(x, y, z)

    def put(member: Floats, value: Floats | float) -> None:
        hu[...] += np.where(inside, member, 0.0) * (value - hu)

    spongy = d.diploe + 250.0 + 250.0 * texture
    # Jaw, cheekbones, palate and the upper vertebrae.
    ramus = capsule(side, y, z, (49, -10, -48), (46, -18, -115), (6.0, 6.5), (1.5, 0.7, 1.0))
    arch = capsule(side, y, z, (58, -58, -42), (68, -18, -42), (4.5, 2.6), (1.0, 1.0, 0.7))
    cheek = ellipsoid(side, y, z, (48, -66, -46), (13, 9, 13))
    pterygoid = capsule(side, y, z, (13, -26, -45), (16, -22, -75), (2.5, 2.0))
    for part in (ramus, arch, cheek, pterygoid):
        put(soft(part, 1.2), spongy + soft(2.0 - part, 1.0) * (0.8 * d.cortical - spongy))
    spine = np.sqrt((x / 1.15) ** 2 + (y - 40.0) ** 2)
    canal = 12.5 - spine
    ring = np.minimum(3.8 + 0.6 * texture - np.abs(spine - 16.5), -66.0 - z)
    mass = np.maximum(
        ellipsoid(side, y, z, (22, 34, -76), (9, 9, 11)), ellipsoid(side, y, z, (20, 36, -96), (10, 9, 8))
    )
    dens = np.minimum(capsule(x, y, z, (0, 24, -72), (0, 24, -120), (4.5, 6.0)), 9.0 + 0 * x)
    gap = soft(np.abs(((-z - 66.0) % 19.0) - 9.5) - 7.0, 2.0) * (z < -66)
    for part in (ring - 4.0 * gap, mass, dens):
        put(soft(part, 1.2), spongy + soft(2.2 - part, 1.0) * (0.75 * d.cortical - spongy))
    in_canal = np.minimum(canal, -58.0 - z)
    put(soft(in_canal, 1.5), d.csf + 4.0)
    put(soft(np.minimum(6.5 - np.sqrt((x / 1.2) ** 2 + (y - 40.0) ** 2), in_canal), 2.0), d.white + 3.0)

    # Air: sinuses with thin walls, ethmoid cells, nose with septum and turbinates, pharynx.
    sick = rng.random(4)
    openings = [
        (ellipsoid(side, y, z, (27, -56, -58), (12, 15, 16)), float(sick[0])),
        (ellipsoid(x, y, z, (1.5, -22, -31), (12, 11, 9)), float(sick[1])),
        (ellipsoid(side, y, z, (7, -55, -33), (6.5, 21, 10)), float(sick[2])),
    ]
    for number, (cave, mucosa) in enumerate(openings):
        hollow = cave + 0.8 * texture
        put(soft(hollow + 1.6, 1.2), 0.55 * d.cortical)
        fill = d.muscle - 20.0 if mucosa < 0.08 else -970.0
        put(soft(hollow - 0.4 - (3.0 * mucosa if mucosa > 0.8 else 0.0), 1.0), fill)
        if number > 0:
            put(soft(np.minimum(hollow, 0.55 - np.abs(cells + 0.4 * x * (number == 1))), 0.8), 380.0)
    nose = np.maximum(
        capsule(side, y, z, (4, -82, -56), (4, -40, -58), (11.0, 13.0), (2.2, 1.0, 0.8)),
        capsule(x, y, z, (0, -98, -66), (0, -75, -60), (7.0, 8.0), (1.0, 1.0, 1.0)),
    )
    put(soft(nose + 1.2, 1.5), 300.0)
    put(soft(nose, 1.2), -960.0)
    concha = np.minimum(nose, 1.5 - np.abs(cells * 1.3))
    put(soft(concha, 1.4), 45.0)
    put(soft(np.minimum(nose + 3.0, 0.8 - np.abs(x - 1.2)), 1.0), 250.0)
    throat = capsule(x, y, z, (0, -30, -62), (0, -2, -112), (6.0, 8.0), (0.6, 1.3, 1.0))
    put(soft(throat + 4.0, 2.5), d.muscle)
    put(soft(throat, 1.2), -980.0)

    # Mastoid cells and the ear canal.
    mastoid = ellipsoid(side, y, z, (56, 24, -42), (13, 15, 20))
    aerated = np.minimum(mastoid, np.abs(cells) * 1.6 - 1.9 + 1.3 * s.pneumatised + 0.5 * texture)
    put(soft(mastoid + 2.0, 2.0), spongy + 250.0)
    put(soft(aerated, 1.0), -820.0)
    put(soft(capsule(side, y, z, (36, 10, -38), (78, 6, -40), (2.5, 3.4)), 1.0) * (side > 40), -980.0)
    inner_ear = ellipsoid(side, y, z, (33, 14, -34), (10, 7, 6))
    put(soft(inner_ear, 2.0), 1.15 * d.cortical + 200.0 * texture)

    # Orbits: a cone of fat, globe, lens, muscles and nerve, in a thin bony wall.
    gaze = rng.normal(0.0, 1.0, 2)
    for sign in (-1.0, 1.0):
        u = x * sign
        cone = capsule(u, y, z, (31, -72, -33), (14, -30, -31), (19.5, 4.0))
        cone = np.minimum(cone, y * 0 + 30.0)
        put(soft(cone + 1.5, 1.2) * (y < -26) * (y > -80), 0.6 * d.cortical)
        put(soft(cone, 1.2), d.fat)
        globe = ellipsoid(u, y, z, (32, -76, -33), (12, 12.2, 12))
        for start, end in (((22, -68), (14, -34)), ((42, -66), (16, -33)), ((32, -66), (15, -33))):
            rod = capsule(u, y, z, (start[0], start[1], -33), (end[0], end[1], -31), (2.0, 1.6), (1.0, 1.0, 0.45))
            put(soft(rod, 1.2), 42.0)
        put(soft(globe + 0.8, 1.2), 48.0)
        put(soft(globe - 0.8, 1.2), 12.0)
        put(soft(ellipsoid(u, y, z, (32 + gaze[0], -85.5, -33 + gaze[1]), (4.5, 2.2, 4.5)), 1.2), 78.0)
