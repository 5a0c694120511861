"""`render`: recipe in, Phantom out. The order of painting is the order of anatomy, from the skin inwards."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .anatomy import Subject, build_shell, draw_subject
from .arithmetic import one_thread
from .bleeds import Bleed, Canvas, Displacing, ExtraAxial, Spacing
from .brain import Place, build_brain
from .face import envelope, paint_bone, paint_face, paint_soft
from .fields import Floats, Rng, bump, ellipsoid, soft
from .geometry import ScanGeometry, draw_geometry, working_grid
from .mimics import Opening, altered_subject, arc_mm, draw_openings, look_alikes, paint_disease
from .plan import Case, draw_bleeds
from .recipe import BLEED_KINDS, PhantomRecipe
from .scanner import Machine, draw_machine, scan_head

#: A slice counts as positive for a kind from this area of labelled blood on: about 4.5 mm square, the least that a
#: reader can tell from noise and partial volume on a 5 mm slice. Fainter traces stay in the label volume.
VISIBLE_MM2 = 20.0
#: Share of blood in a pixel's slice volume from which the label bit is set.
_LABEL_SHARE = 0.35


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """A rendered synthetic head CT with its truth."""

    recipe: PhantomRecipe
    #: int16 [S, H, W]; slice 0 most inferior, row 0 anterior, column 0 the patient's right
    hu_SHW: NDArray[np.int16]
    #: uint8 [S, H, W]; bit k = BLEED_KINDS[k]
    label_SHW: NDArray[np.uint8]
    #: bool [S, 6] in the order any, then BLEED_KINDS
    presence_SC: NDArray[np.bool_]
    scan: ScanGeometry
    machine: Machine
    age: float

    @property
    def z_mm(self) -> Floats:
        """Table position (patient z of the slice's middle) [S], ascending, mm."""
        return self.scan.z_mm

    @property
    def pixel_spacing_mm(self) -> float:
        return self.scan.pixel_mm

    @property
    def slice_thickness_mm(self) -> Floats:
        """Nominal thickness of each slice [S], mm."""
        return self.scan.thickness_mm

    @property
    def tilt_deg(self) -> float:
        return self.scan.tilt_deg

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Presence per slice, [S, 6], any first; see VISIBLE_MM2."""
        return self.presence_SC

    def volume_ml(self) -> dict[str, float]:
        """Labelled blood of each kind within the scanned slices, ml."""
        steps = np.gradient(self.z_mm) if self.z_mm.size > 1 else self.slice_thickness_mm
        cell = (self.pixel_spacing_mm**2 * np.abs(steps) * np.cos(np.deg2rad(self.tilt_deg)) / 1000.0)[:, None, None]
        return {
            kind: float(((self.label_SHW >> k & 1) * cell).sum()) for k, kind in enumerate(BLEED_KINDS)
        }  # fmt: skip


_ATTEMPTS = 5


def render(recipe: PhantomRecipe) -> Phantom:
    """Render a recipe; the same recipe gives the same arrays, whatever number of threads this process may have.

    A draw whose bleeds fall outside the scan, or stay too small to be seen on any slice, is drawn again from the next
    stream of the same seed, so a requested kind is missing only from scans that cannot show it.
    """
    with one_thread():
        for attempt in range(_ATTEMPTS):
            phantom = _render(recipe, attempt)
            if all(phantom.presence_SC[:, 1 + BLEED_KINDS.index(kind)].any() for kind in recipe.bleeds):
                break
    return phantom


def _render(recipe: PhantomRecipe, attempt: int) -> Phantom:
    rng = recipe.generator("disease", attempt)
    subject = altered_subject(draw_subject(recipe), recipe.mimics, rng)
    if "intraventricular" in recipe.bleeds:
        subject = replace(subject, ventricles=max(0.75, subject.ventricles) * float(rng.uniform(1.0, 1.35)))
    scan = draw_geometry(recipe, subject.size)
    grid = working_grid(scan, recipe.voxel_mm)
    subtlety = (float(rng.beta(1.0, 1.6)) if recipe.subtlety is None else recipe.subtlety) * 0.6**attempt
    low, high = float(scan.z_mm[0]), float(scan.z_mm[-1])
    covered = (max(low, -70.0), min(high, 85.0))
    bleeds = draw_bleeds(recipe.bleeds, Case(subject=subject, rng=rng, covered=covered, subtlety=subtlety))
    others = look_alikes(recipe.mimics, subject, rng)

    x, y, z = grid.coordinates()
    head, metal, members = _paint_head(recipe, subject, bleeds, others, rng, x, y, z)

    machine = draw_machine(recipe)
    restless = float(rng.uniform(0.5, 1.4)) if "motion" in recipe.mimics else 0.0
    noise = recipe.generator("noise", attempt)
    image, optics, profile = scan_head(head, metal, scan, grid, machine, noise, recipe.rows, restless)

    label = np.zeros(image.shape, dtype=np.uint8)
    presence = np.zeros((image.shape[0], 1 + len(BLEED_KINDS)), dtype=np.bool_)
    for kind, volume in members.items():
        share = optics.to_image(np.tensordot(profile, volume, axes=1), 0.3)
        marked = share > _LABEL_SHARE
        k = BLEED_KINDS.index(kind)
        label |= marked.astype(np.uint8) << np.uint8(k)
        presence[:, 1 + k] = marked.sum(axis=(1, 2)) * scan.pixel_mm**2 >= VISIBLE_MM2
    presence[:, 0] = presence[:, 1:].any(axis=1)

    hu = np.rint(np.clip(image, -1024.0, 3071.0)).astype(np.int16)
    if machine.padding is not None:
        line = np.arange(recipe.rows) - (recipe.rows - 1) / 2.0
        hu[:, line[:, None] ** 2 + line[None, :] ** 2 > (recipe.rows / 2.0) ** 2] = machine.padding
    return Phantom(
        recipe=recipe, hu_SHW=hu, label_SHW=label, presence_SC=presence, scan=scan, machine=machine, age=subject.age
    )


def _paint_head(
    recipe: PhantomRecipe,
    s: Subject,
    bleeds: list[Bleed],
    others: list[Bleed],
    rng: Rng,
    x: Floats,
    y: Floats,
    z: Floats,
) -> tuple[Floats, Floats | None, dict[str, Floats]]:
    """The head in HU [Z, Y, X], metal [Z, Y, X] or None, and the membership [Z, Y, X] of each kind of blood."""
    voxel = recipe.voxel_mm
    shell = build_shell(s, x, y, z)
    over = next((b.toward for b in bleeds if isinstance(b, ExtraAxial) and b.kind == "epidural"), None)
    openings = draw_openings(recipe.mimics, rng, over)
    for opening in (o for o in openings if o.kind == "scalp"):
        swell = opening.dense * 0.16 * bump(arc_mm(opening, x, y, z) / (0.5 * opening.radius_mm))
        shell = replace(shell, skin=shell.skin + swell * (z > -40))
    skin = envelope(s, shell, x, y, z)
    head = np.full(x.shape, -1000.0, dtype=np.float32)
    flat = head.reshape(-1)
    above = (-shell.depth - shell.bone_mm).reshape(-1)

    def points(where: NDArray[np.bool_]) -> tuple[NDArray[np.intp], Floats, Floats, Floats]:
        index = np.flatnonzero(where)
        return index, x.reshape(-1)[index], y.reshape(-1)[index], z.reshape(-1)[index]

    index, px, py, pz = points((skin > -1.5) & (shell.depth < -shell.bone_mm + 1.5))
    part = flat[index]
    paint_soft(part, s, skin.reshape(-1)[index], above[index], px, py, pz)
    for opening in (o for o in openings if o.kind == "scalp"):
        clot = bump(arc_mm(opening, px, py, pz) / (0.45 * opening.radius_mm)) * 2.0 - 0.8
        clot = np.clip(clot, 0, 1) * soft(skin.reshape(-1)[index] - 2.5, 1.5) * (pz > -40)
        part += clot * (opening.dense + 5.0 * s.fine.nearest(px * 0.6, py * 0.6, pz * 0.6) - part)
    flat[index] = part

    index, px, py, pz = points((shell.depth < 1.0) & (shell.depth > -shell.bone_mm - 1.0) & (skin > 0))
    part = flat[index]
    before = part.copy()
    bone_shell = replace(shell, depth=shell.depth.reshape(-1)[index], bone_mm=shell.bone_mm.reshape(-1)[index])
    paint_bone(part, s, bone_shell, voxel, px, py, pz)
    for opening in openings:
        part = _open_bone(part, before, opening, px, py, pz)
    flat[index] = part

    index, px, py, pz = points((z < 8.0) & (shell.depth < 1.0) & (skin > 0) & (np.abs(x) < 90))
    part = flat[index]
    paint_face(part, s, rng, skin.reshape(-1)[index], px, py, pz)
    flat[index] = part

    index, px, py, pz = points(shell.depth > -1.0)
    place = Place(
        x=px, y=py, z=pz, depth=shell.depth.reshape(-1)[index], vault=shell.vault.reshape(-1)[index],
        lift=np.clip(shell.reach.reshape(-1)[index] / shell.radius.reshape(-1)[index], 1.0, 1.8) ** 0.55,
    )  # fmt: skip
    cavity, painted = _paint_cavity(recipe, s, bleeds, others, rng, place)
    inside = soft(place.depth, voxel)
    flat[index] += inside * (cavity - flat[index])
    members = {}
    for kind, member in painted.items():
        volume = np.zeros(flat.size, dtype=np.float32)
        volume[index] = member * inside
        members[kind] = volume.reshape(x.shape)
    metal = _paint_metal(head, rng, x, y, z) if "clip" in recipe.mimics else None
    return head, metal, members


def _open_bone(part: Floats, before: Floats, o: Opening, x: Floats, y: Floats, z: Floats) -> Floats:
    """Bone after surgery or trauma; what lay there before the bone was painted shows in the gap."""
    if o.kind == "scalp":
        return part
    arc = arc_mm(o, x, y, z)
    if o.kind == "flap":
        gone = soft(1.3 - np.abs(arc - o.radius_mm), 1.0)
    elif o.kind == "fracture":
        gone = soft(0.7 - np.abs(z - o.toward[2] * 75.0 - 0.3 * (y - o.toward[1] * 80.0) - o.dense), 1.0) * (
            arc < o.radius_mm
        )
    else:
        gone = soft(o.radius_mm - arc, 2.0)
    return part + gone * (np.maximum(before, 15.0) - part)


def _paint_cavity(
    recipe: PhantomRecipe, s: Subject, bleeds: list[Bleed], others: list[Bleed], rng: Rng, p: Place
) -> tuple[Floats, dict[str, Floats]]:
    """Brain with everything in it, at flat points, and the membership of each kind of blood."""
    moved = p
    room = np.zeros_like(p.x)
    for lesion in (*others, *bleeds):
        if isinstance(lesion, Displacing):
            moved = lesion.deform(p, moved)
        if isinstance(lesion, Spacing):
            room = room + lesion.room(p)
    tissue = build_brain(s, moved, recipe.voxel_mm, np.clip(room, -1.0, 1.0).astype(np.float32))
    hu = tissue.hu
    canvas = Canvas(hu=hu, subject=s, place=p, tissue=tissue, voxel_mm=recipe.voxel_mm)
    paint_disease(hu, s, moved, tissue, recipe.mimics, rng)
    for lesion in others:
        lesion.paint(canvas)
    painted: dict[str, Floats] = {}
    order = {"subarachnoid": 0, "intraventricular": 1, "subdural": 2, "epidural": 3, "intraparenchymal": 4}
    for bleed in sorted(bleeds, key=lambda b: order[b.kind]):
        member = bleed.paint(canvas)
        for kind in painted:
            painted[kind] = painted[kind] * (1.0 - member)
        painted[bleed.kind] = np.maximum(painted.get(bleed.kind, np.float32(0.0)), member).astype(np.float32)
    return hu, painted


def _paint_metal(head: Floats, rng: Rng, x: Floats, y: Floats, z: Floats) -> Floats:
    """An aneurysm clip, a coil or a shunt valve's metal, in place; returns where it lies."""
    where = [
        (rng.uniform(-14, 14), -12.0, -14.0),
        (rng.choice([-1, 1]) * 34.0, -14.0, -6.0),
        (rng.uniform(-60, 60), 40.0, 45.0),
    ]
    c = where[int(rng.integers(3))]
    r = (rng.uniform(0.8, 1.6), rng.uniform(3.0, 7.0), rng.uniform(1.0, 2.5))
    metal = soft(ellipsoid(x, y, z, c, r), 1.5)
    # Titanium and platinum lie far above the scale; the slice profile thins them before the scale clips them.
    head += metal * (9000.0 - head)
    return metal
