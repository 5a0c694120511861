"""Draws the bleeds that a recipe asks for: site, size, age of the blood."""

import math
from dataclasses import dataclass

import numpy as np

from .anatomy import Subject
from .bleeds import Bleed, DuralLayer, ExtraAxial, Parenchymal, Point, Subarachnoid, Ventricular
from .fields import Rng


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a draw depends on."""

    subject: Subject
    rng: Rng
    #: range of head z that the scan covers, mm
    covered: tuple[float, float]
    subtlety: float


def draw_bleeds(kinds: tuple[str, ...], case: Case) -> list[Bleed]:
    """Bleeds for each kind asked, inside the covered range; one kind may become several bleeds."""
    draw = {
        "intraparenchymal": _parenchymal, "intraventricular": _ventricular, "subarachnoid": _subarachnoid,
        "subdural": _subdural, "epidural": _epidural,
    }  # fmt: skip
    return [bleed for kind in kinds for bleed in draw[kind](case)]


def _between(rng: Rng, covered: tuple[float, float], low: float, high: float) -> float:
    """A z in low..high that the scan covers, with a margin where there is room for one."""
    bottom, top = max(low, covered[0] + 12.0), min(high, covered[1] - 12.0)
    return float(rng.uniform(bottom, top)) if bottom < top else float(np.clip((low + high) / 2, *covered))


def _sign(rng: Rng) -> float:
    return -1.0 if rng.random() < 0.5 else 1.0


def _direction(azimuth_deg: float, z: float, side: float) -> Point:
    """Unit vector; azimuth 0 = forehead, 90 = ear, 180 = occiput; z is the height in mm on the inner table."""
    up = math.sin(math.asin(max(-0.95, min(0.95, z / 72.0))))
    flat = math.sqrt(1.0 - up * up)
    a = math.radians(azimuth_deg)
    return (side * flat * math.sin(a), -flat * math.cos(a), up)


def _epidural(case: Case) -> list[Bleed]:
    s, rng, covered, subtlety = case.subject, case.rng, case.covered, case.subtlety
    site = rng.random()
    azimuth, low, high = (
        (rng.uniform(65, 115), -20, 35) if site < 0.65 else (rng.uniform(12, 60), -5, 40) if site < 0.85
        else (rng.uniform(130, 170), -40, 30)
    )  # fmt: skip
    size = rng.uniform(0.0, 1.0) * (1.0 - 0.75 * subtlety) + 0.08
    thickness = 4.5 + 28.0 * size**1.2
    extent = 15.0 + 0.9 * thickness + rng.uniform(0.0, 8.0)
    swirl = float(rng.uniform(8.0, 25.0)) if rng.random() < 0.35 else 0.0
    density = s.density.blood + rng.uniform(-6.0, 10.0)
    return [
        ExtraAxial(
            kind="epidural", toward=_direction(azimuth, _between(rng, covered, low, high), _sign(rng)),
            extent=(extent, extent * rng.uniform(0.85, 1.2)), thickness=thickness,
            density=(density, density), level=0.0,
            swirl=swirl, membranes=0.0, shift=thickness * rng.uniform(0.25, 0.6), taper=1.0,
        )
    ]  # fmt: skip


def _subdural(case: Case) -> list[Bleed]:
    s, rng, covered, subtlety = case.subject, case.rng, case.covered, case.subtlety
    d = s.density
    if rng.random() < 0.16:
        along = "falx" if rng.random() < 0.55 else "tentorium"
        span = (
            (rng.uniform(-60, 0), rng.uniform(50, 85)) if along == "falx" else (rng.uniform(5, 25), rng.uniform(60, 85))
        )
        thickness = rng.uniform(2.6, 8.0 - 4.0 * subtlety)
        return [
            DuralLayer(
                along=along, side=_sign(rng), thickness=thickness, density=d.blood + rng.uniform(-8, 6), span=span
            )
        ]
    side = _sign(rng)
    sides = [side, -side] if rng.random() < 0.22 else [side]
    age = rng.random()
    out: list[Bleed] = []
    for way in sides:
        thickness = 3.0 + 22.0 * float(rng.beta(1.3, 2.2)) * (1.0 - 0.7 * subtlety)
        acute = d.blood + rng.uniform(-10.0, 8.0)
        chronic = rng.uniform(d.csf + 4.0, max(d.white - 5.0, d.csf + 6.0))
        swirl, membranes, density = 0.0, 0.0, (acute, acute)
        if age < 0.10:
            swirl = rng.uniform(10.0, 28.0)
        elif age < 0.55:
            pass
        elif age < 0.70:
            density = (chronic, rng.uniform(0.4, 1.0) * (acute - chronic) + chronic)
        elif age < 0.76:
            iso = rng.uniform(d.white + 1.0, d.grey + 8.0)
            density = (iso, iso)
        else:
            density = (chronic, chronic + rng.uniform(0.0, 6.0))
            membranes = rng.uniform(12.0, 32.0) if rng.random() < 0.55 else 0.0
        if age >= 0.55:
            thickness = max(thickness, 6.0 + 20.0 * float(rng.beta(1.5, 2.0)))
        out.append(
            ExtraAxial(
                kind="subdural", toward=_direction(rng.uniform(45, 125), _between(rng, covered, 0, 45), way),
                extent=(rng.uniform(60, 115), rng.uniform(40, 75)), thickness=thickness, density=density,
                level=rng.uniform(-15, 45), swirl=swirl, membranes=membranes,
                shift=thickness * rng.uniform(0.55, 1.25) * (0.3 if len(sides) > 1 else 1.0) * (1.0 - 0.4 * s.atrophy),
                taper=rng.uniform(0.4, 0.7) if age < 0.55 else rng.uniform(0.45, 1.0),
            )
        )  # fmt: skip
    return out


def _parenchymal(case: Case) -> list[Bleed]:
    s, rng, covered, subtlety = case.subject, case.rng, case.covered, case.subtlety
    gx, gy, gz = s.half_width / 69.0, s.half_length / 84.0, s.up / 76.0
    site, side = rng.random(), _sign(rng)
    several = 1
    largest = 75.0
    if site < 0.32:
        centre = (side * rng.uniform(22, 33) * gx, rng.uniform(-14, 12) * gy, rng.uniform(-4, 12) * gz)
    elif site < 0.46:
        centre, largest = (side * rng.uniform(9, 15) * gx, rng.uniform(4, 16) * gy, rng.uniform(2, 12) * gz), 25.0
    elif site < 0.72:
        z = _between(rng, covered, -12, 52)
        toward = _direction(rng.uniform(12, 168), z, side)
        inward = rng.uniform(0.55, 0.80)
        centre = (toward[0] * s.half_width * inward, toward[1] * s.half_length * inward, z)
    elif site < 0.82:
        centre, largest = (side * rng.uniform(10, 32) * gx, rng.uniform(42, 62) * gy, rng.uniform(-48, -32) * gz), 25.0
    elif site < 0.87:
        centre, largest = (rng.uniform(-5, 5), rng.uniform(9, 18), rng.uniform(-36, -24)), 8.0
    else:
        several, largest = int(rng.integers(2, 7)), 4.0
        centre = (side * 25.0, -60.0, -8.0)
    least = math.log(0.5) + 1.3 * (1.0 - subtlety)
    volume = math.exp(rng.uniform(least, math.log(largest) - 1.5 * subtlety))
    if several == 1 and not covered[0] + 4 < centre[2] < covered[1] - 4:
        centre = (centre[0], centre[1], _between(rng, covered, -10, 50))
    out: list[Bleed] = []
    for _ in range(several):
        if several > 1:
            temporal = rng.random() < 0.4
            centre = (
                (side * rng.uniform(42, 56) * gx, rng.uniform(-28, 2) * gy, rng.uniform(-28, -12) * gz) if temporal
                else (side * rng.uniform(6, 36) * gx, rng.uniform(-72, -50) * gy, rng.uniform(-14, 12) * gz)
            )  # fmt: skip
            volume = math.exp(rng.uniform(math.log(0.25), math.log(largest)))
            side = side if rng.random() < 0.7 else -side
        r = (volume * 1000.0 * 3.0 / (4.0 * math.pi)) ** (1.0 / 3.0)
        stretch = rng.lognormal(0.0, 0.22, 3)
        stretch = (stretch / np.cbrt(np.prod(stretch))).tolist()
        fresh = rng.random()
        density = s.density.blood + rng.uniform(-5.0, 14.0) if fresh < 0.9 else s.density.grey + rng.uniform(5.0, 14.0)
        out.append(
            Parenchymal(
                centre=centre, radii=(r * stretch[0], r * stretch[1] * 1.1, r * stretch[2]),
                ragged=rng.uniform(0.10, 0.45),
                density=density, halo_mm=rng.uniform(1.0, 3.0 + 0.3 * r), halo_hu=rng.uniform(4.0, 12.0),
                swirl=rng.uniform(6.0, 20.0) if rng.random() < 0.25 else 0.0, push=rng.uniform(0.3, 0.8),
            )
        )  # fmt: skip
    return out


def _ventricular(case: Case) -> list[Bleed]:
    s, rng, subtlety = case.subject, case.rng, case.subtlety
    away = 99.0
    cast = rng.random() < 0.35 * (1.0 - subtlety)
    sides = [away, away]
    for i in range(2):
        if rng.random() < 0.75:
            sides[i] = -99.0 if cast and rng.random() < 0.7 else rng.uniform(28, 50) - 12.0 * (1.0 - subtlety)
    if min(sides) == away:
        sides[int(rng.integers(2))] = rng.uniform(25, 45)
    third = rng.uniform(-99, 4) if cast or rng.random() < 0.3 else away
    fourth = rng.uniform(-99, 37) if cast or rng.random() < 0.3 else away
    return [
        Ventricular(
            level=(sides[0], sides[1], third, fourth), density=s.density.blood + rng.uniform(-12.0, 10.0),
            sharp_mm=rng.uniform(1.5, 5.0),
        )
    ]  # fmt: skip


def _subarachnoid(case: Case) -> list[Bleed]:
    s, rng, covered = case.subject, case.rng, case.covered
    side = _sign(rng)
    pattern = rng.random()
    density = s.density.blood + rng.uniform(-9.0, 8.0)
    spots: list[tuple[Point, float]]
    cisterns, sulci = 1.0, rng.uniform(0.3, 1.0)
    if pattern < 0.42 and covered[0] < -25:
        spread = rng.uniform(16.0, 34.0)
        spots = [((0, -8, -18), spread), ((0, 18, -12), spread * rng.uniform(0.4, 0.9))]
        spots += [((way * 40, -12, -2), rng.uniform(12, 26)) for way in (-1.0, 1.0) if rng.random() < 0.8]
        if rng.random() < 0.6:
            spots.append(((0, -55, 5), rng.uniform(14, 30)))
    elif pattern < 0.60:
        spots = [((side * 45, -10, max(2.0, covered[0] + 8)), rng.uniform(14, 26))]
    else:
        cisterns, sulci = rng.uniform(0.0, 0.6), 1.0
        spots = []
        for _ in range(int(rng.integers(1, 5))):
            toward = _direction(rng.uniform(10, 170), _between(rng, covered, -10, 60), side)
            spots.append(
                (
                    (toward[0] * s.half_width * 0.9, toward[1] * s.half_length * 0.9, toward[2] * s.up * 0.9),
                    rng.uniform(10, 24),
                )
            )
            side = side if rng.random() < 0.7 else -side
    return [Subarachnoid(spots=tuple(spots), density=density, cisterns=cisterns, sulci=sulci)]
