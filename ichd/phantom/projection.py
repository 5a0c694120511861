"""A coarse parallel-beam model: what bone and metal do to a slice far from where they lie.

Beam hardening and photon starvation are errors of rays, so they are made where they arise, in projections, and filtered
back. The result is dark bands between the petrous bones, cupping, streaks from metal, and noise that follows the head.
Shapes: S slices, P pixels of a square of EDGE x EDGE, R rays (ANGLES x BINS).
"""

from functools import cache

import numpy as np
from scipy import sparse

from .fields import Floats, Rng

EDGE = 96
ANGLES = 80
BINS = 140
#: mm a pixel
PITCH = 2.7


@cache
def _system() -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Rays from pixels, [R, P] in cm, and its transpose; linear splitting between neighbouring bins."""
    line = (np.arange(EDGE) - (EDGE - 1) / 2.0) * PITCH
    y, x = np.meshgrid(line, line, indexing="ij")
    angles = (np.arange(ANGLES) + 0.5) * np.pi / ANGLES
    place = (np.cos(angles)[:, None] * x.ravel() + np.sin(angles)[:, None] * y.ravel()) / PITCH + BINS / 2.0
    low = np.floor(place).astype(np.int64)
    share = (place - low).astype(np.float32)
    pixels = np.broadcast_to(np.arange(EDGE * EDGE), low.shape)
    first = np.arange(ANGLES)[:, None] * BINS
    rows = np.concatenate([(first + low).ravel(), (first + low + 1).ravel()])
    weights = np.concatenate([(1.0 - share).ravel(), share.ravel()]) * np.float32(PITCH / 10.0)
    columns = np.concatenate([pixels.ravel(), pixels.ravel()])
    matrix = sparse.csr_matrix((weights, (rows, columns)), shape=(ANGLES * BINS, EDGE * EDGE), dtype=np.float32)
    return matrix, matrix.T.tocsr()


@cache
def _ramp() -> Floats:
    return np.asarray(np.abs(np.fft.rfftfreq(2 * BINS)), dtype=np.float32)


def _back(errors_RS: Floats) -> Floats:
    """Filtered back projection of ray errors, [S, EDGE, EDGE]."""
    spectrum = np.fft.rfft(errors_RS.reshape(ANGLES, BINS, -1), n=2 * BINS, axis=1)
    filtered = np.fft.irfft(spectrum * _ramp()[None, :, None], axis=1)[:, :BINS]
    image = _system()[1] @ filtered.reshape(ANGLES * BINS, -1).astype(np.float32)
    return np.ascontiguousarray(image.T).reshape(-1, EDGE, EDGE)


def ray_artefacts(
    hu_SEE: Floats, rng: Rng, hardening: float, streak_noise: float, starved: Floats | None = None
) -> tuple[Floats, Floats]:
    """Errors in HU and relative noise (1 in the middle of a plain head), both [S, EDGE, EDGE].

    `starved` marks metal (0..1, same shape): rays through it lose their measure.
    """
    system, spread = _system()
    slices = hu_SEE.shape[0]
    water = np.clip(hu_SEE / 1000.0 + 1.0, 0.0, 1.05).reshape(slices, -1).T
    bone = np.clip((hu_SEE - 150.0) / 1000.0, 0.0, 3.0).reshape(slices, -1).T
    paths = system @ np.concatenate([water, bone], axis=1).astype(np.float32)
    through_water, through_bone = paths[:, :slices], paths[:, slices:]
    errors = -hardening * (1.6 * through_bone**2 + 0.12 * through_bone**3 + 0.16 * through_bone * through_water)
    loss = np.exp(0.5 * np.clip(0.19 * (through_water - 17.0) + 0.32 * (through_bone - 2.0), -4.0, 5.0))
    errors = errors + streak_noise * loss * rng.standard_normal(errors.shape, dtype=np.float32)
    if starved is not None:
        shadow = system @ starved.reshape(slices, -1).T.astype(np.float32)
        errors = errors - 420.0 * shadow + 270.0 * shadow * rng.standard_normal(errors.shape, dtype=np.float32)
    noise = np.sqrt(np.maximum(spread @ loss**2, 0.0)).T.reshape(slices, EDGE, EDGE)
    reference = np.sqrt(ANGLES * PITCH / 10.0)
    return _back(errors), (noise / np.float32(reference)).astype(np.float32)
