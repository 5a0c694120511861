"""Simulated readings whose truth is drawn first: heads of 12 to 120 slices, in which neighbours look alike."""

import numpy as np

from ichd.domain.finding import CLASSES
from training.packed.reading import ScanReading

#: mm of a head, and over which the network's error of one slice still shows in another.
_HEAD_MM, _ALIKE_MM = 150.0, 12.0


def made_readings(
    scans: int, *, seed: int, prevalence: float = 0.4, least: int = 12, most: int = 120, alike_mm: float = _ALIKE_MM
) -> list[ScanReading]:
    """Scans, two of each patient; every class is drawn by itself, `any` as the first kind is."""
    rng = np.random.default_rng(seed)
    return [_made(index, rng, prevalence, least, most, alike_mm) for index in range(scans)]


def _made(
    index: int, rng: np.random.Generator, prevalence: float, least: int, most: int, alike_mm: float
) -> ScanReading:
    slices = int(np.exp(rng.uniform(np.log(least), np.log(most))))
    z_mm = (np.arange(slices) + 0.5) * _HEAD_MM / slices
    truth_C = rng.random(len(CLASSES)) < prevalence
    truth_C[0] = truth_C[1]
    truth_SC = np.zeros((slices, len(CLASSES)), dtype=np.int8)
    logits_SC = -4.0 + 1.6 * _wandering((slices, len(CLASSES)), _HEAD_MM / slices, alike_mm, rng)
    for c in np.flatnonzero(truth_C):
        middle, half = rng.uniform(20, _HEAD_MM - 20), rng.uniform(8, 30)
        inside = np.abs(z_mm - middle) <= max(half, _HEAD_MM / slices)
        truth_SC[inside, c] = 1
        logits_SC[inside, c] += rng.normal(4.5, 1.5)
    truth_SC[:, 0], logits_SC[:, 0] = truth_SC[:, 1], logits_SC[:, 1]
    return ScanReading(
        study_id=f"S{index}",
        patient_id=f"P{index // 2}",
        image_ids=tuple((f"I{index}.{s}",) for s in range(slices)),
        z_mm=tuple(z_mm.tolist()),
        p_SC=1 / (1 + np.exp(-logits_SC)),
        truth_SC=truth_SC,
        truth_C=truth_SC.max(axis=0),
    )


def _wandering(shape: tuple[int, int], step_mm: float, alike_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Unit variance at every slice; the correlation falls by e over `alike_mm`."""
    rho = np.exp(-step_mm / alike_mm) if alike_mm > 0 else 0.0
    noise_SC = rng.normal(size=shape)
    for s in range(1, shape[0]):
        noise_SC[s] = rho * noise_SC[s - 1] + np.sqrt(1 - rho**2) * noise_SC[s]
    return noise_SC
