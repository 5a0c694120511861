"""Heads from phantoms, and what happens to heads in a scanner: each fault is one function from scan to scan."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ichd.phantom import BLEED_KINDS, MIMIC_KINDS, PhantomRecipe, render
from ichd.vision.scan import HeadScan, Upright

from .images import one_image_a_slice

#: Mimics that are a fault of the scan, or metal: not among what must pass without a note.
_FAULTS = frozenset({"motion", "clip"})
_HARMLESS = tuple(kind for kind in MIMIC_KINDS if kind not in _FAULTS)


@lru_cache(maxsize=64)
def head(
    seed: int, *, bleeds: tuple[str, ...] = (), mimics: tuple[str, ...] = (), age: float | None = None
) -> HeadScan:
    """A phantom in a field of view that holds it, as `load_scan` reads it."""
    phantom = render(
        PhantomRecipe(seed=seed, bleeds=bleeds, mimics=mimics, age=age, slices=26, rows=160, voxel_mm=2.5, fov_mm=272.0)
    )
    z_mm = tuple(float(z) for z in phantom.z_mm)
    return HeadScan(
        hu_SHW=np.maximum(phantom.hu_SHW, np.int16(-1024)),
        z_mm=z_mm,
        sources=one_image_a_slice(z_mm),
        pixel_spacing_mm=(phantom.pixel_spacing_mm, phantom.pixel_spacing_mm),
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.4",
        upright=Upright(transposed=False, flipped_rows=False, flipped_columns=False),
    )


def any_head(seed: int) -> HeadScan:
    """A head with the kind of bleed, and the harmless mimic, that the seed falls on; seeds cover them all."""
    bleeds = (*((kind,) for kind in BLEED_KINDS), ())[seed % 6]
    return head(seed, bleeds=bleeds, mimics=(_HARMLESS[seed % len(_HARMLESS)],))


def moved_within(scan: HeadScan, indices: list[int], shift_mm: tuple[float, float]) -> HeadScan:
    """A jerk while some slices were acquired: half of their views see the head at another place."""
    hu_SHW = scan.hu_SHW.copy()
    shift = shift_mm[0] / scan.pixel_spacing_mm[0], shift_mm[1] / scan.pixel_spacing_mm[1]
    for index in indices:
        hu_SHW[index] = _jerked(hu_SHW[index], shift)
    return replace(scan, hu_SHW=hu_SHW)


def _jerked(hu_HW: NDArray[np.int16] | NDArray[np.float32], shift: tuple[float, float]) -> NDArray[np.int16]:
    """Reconstructed from parallel views of which the second half is of the shifted section.

    Reconstruction is linear: what the jerk adds is the filtered back projection, over the views after it, of the
    difference that it makes. The grain of the image stays as it is.
    """
    density = hu_HW.astype(np.float32) + 1000
    difference = ndimage.shift(density, shift, order=1, mode="nearest") - density
    size = len(difference)
    ramp = np.abs(np.fft.rfftfreq(2 * size)) * (1 + np.cos(2 * np.pi * np.fft.rfftfreq(2 * size))) / 2
    views = 180
    added = np.zeros_like(difference)
    for degrees in np.arange(views // 2) * 180.0 / views:
        view = ndimage.rotate(difference, degrees, reshape=False, order=1).sum(axis=0)
        filtered = np.fft.irfft(np.fft.rfft(view, 2 * size) * ramp, 2 * size)[:size]
        smeared = np.broadcast_to(filtered.astype(np.float32), difference.shape)
        added += ndimage.rotate(smeared, -degrees, reshape=False, order=1)
    return np.clip(hu_HW + added * np.pi / views, -1024, 3071).astype(np.int16)


def stepped(scan: HeadScan, index: int, columns: int) -> HeadScan:
    """The head lies beside from this slice on, as after a jerk between two rotations."""
    hu_SHW = scan.hu_SHW.copy()
    hu_SHW[index:] = np.roll(hu_SHW[index:], columns, axis=2)
    return replace(scan, hu_SHW=hu_SHW)


def with_metal(scan: HeadScan, index: int) -> HeadScan:
    """A clip of 5 mm in two slices, left of the middle, with what it takes from both sides of it."""
    hu_SHW = scan.hu_SHW.copy()
    middle = hu_SHW.shape[1] // 2, hu_SHW.shape[2] // 2 + 12
    size = max(2, round(5 / scan.pixel_spacing_mm[0]))
    rows, columns = slice(middle[0], middle[0] + size), slice(middle[1], middle[1] + size // 2)
    for at in (index, index + 1):
        hu_SHW[at, rows, middle[1] - 20 : middle[1] + 20] -= 120
        hu_SHW[at, rows, columns] = 3071
    return replace(scan, hu_SHW=hu_SHW)


def with_slices(
    scan: HeadScan, indices: Iterable[int], spoil: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> HeadScan:
    """Some slices have gone through `spoil`, HU to HU."""
    hu_SHW = scan.hu_SHW.copy()
    for index in indices:
        hu_SHW[index] = np.clip(spoil(hu_SHW[index].astype(np.float32)), -1024, 32767)
    return replace(scan, hu_SHW=hu_SHW)


def without_bone(scan: HeadScan, degrees: float, towards: float, z_mm: tuple[float, float]) -> HeadScan:
    """A craniectomy: so many degrees of bone are taken, to the left (0) or in front (-90), between two heights."""
    hu_SHW = scan.hu_SHW.copy()
    row, column = np.mgrid[: hu_SHW.shape[1], : hu_SHW.shape[2]]
    for hu_HW, z in zip(hu_SHW, scan.z_mm, strict=True):
        rows, columns = np.nonzero(hu_HW > -300)
        if z_mm[0] <= z <= z_mm[1] and rows.size:
            angle = np.degrees(np.arctan2(row - rows.mean(), column - columns.mean()))
            away = np.abs((angle - towards + 180) % 360 - 180)
            hu_HW[(hu_HW > 150) & (away < degrees / 2)] = 40
    return replace(scan, hu_SHW=hu_SHW)


def clipped(scan: HeadScan, cut_mm: float) -> HeadScan:
    """Reconstructed too far back: so much of the forehead, as it is in the middle slice, lies before the first row."""
    front = int((scan.hu_SHW[len(scan.z_mm) // 2] > -300).any(axis=1).argmax())
    return replace(scan, hu_SHW=scan.hu_SHW[:, max(0, front + round(cut_mm / scan.pixel_spacing_mm[0])) :])


def between(scan: HeadScan, low_mm: float, high_mm: float) -> HeadScan:
    """Only the slices whose position lies between these."""
    kept = [index for index, z in enumerate(scan.z_mm) if low_mm <= z <= high_mm]
    return replace(
        scan,
        hu_SHW=scan.hu_SHW[kept],
        z_mm=tuple(scan.z_mm[index] for index in kept),
        sources=tuple(scan.sources[index] for index in kept),
    )


def face_down(scan: HeadScan) -> HeadScan:
    """Rows run the other way: the face lies where the header has the back of the head."""
    return replace(scan, hu_SHW=scan.hu_SHW[:, ::-1])


def vertex_down(scan: HeadScan) -> HeadScan:
    """Positions run the other way."""
    return replace(scan, hu_SHW=scan.hu_SHW[::-1])


def rescaled(scan: HeadScan, slope: float, intercept: float) -> HeadScan:
    """HU that a wrong slope and intercept have gone over."""
    wrong = scan.hu_SHW.astype(np.float32) * slope + intercept
    return replace(scan, hu_SHW=np.clip(wrong, -1024, 32767).astype(np.int16))


def ruined(scan: HeadScan) -> HeadScan:
    """Bright and dark streaks, a centimetre wide, side by side through every slice."""
    width = max(1, round(10 / scan.pixel_spacing_mm[0]))
    streaks = np.where(np.arange(scan.hu_SHW.shape[1]) // width % 2, 250, -250)[:, np.newaxis]
    shaken = np.where(scan.hu_SHW > -300, scan.hu_SHW + streaks, scan.hu_SHW)
    return replace(scan, hu_SHW=np.clip(shaken, -1024, 3071).astype(np.int16))
