"""Readings of scans that nobody scanned: probabilities that know the truth somewhat."""

import numpy as np

from ichd.domain.finding import CLASSES
from ichd.vision.manifest import ThresholdSpec
from training.evaluation.figures import Report, Subject
from training.evaluation.result import compare, evaluate
from training.packed.reading import ScanReading


def made_readings(scans: int, *, seed: int = 0, skill: float = 2.5, unknown: float = 0.0) -> list[ScanReading]:
    """A third bleed; two scans a patient; every class occurs. The truth depends on the seed alone, not on the skill."""
    rng, noise = np.random.default_rng(seed), np.random.default_rng([seed, int(skill * 1000)])
    readings = []
    for k in range(scans):
        slices = int(rng.integers(6, 14))
        truth_SC = np.zeros((slices, len(CLASSES)), dtype=np.int8)
        if k % 3 == 0:
            kind, first = 1 + (k // 3) % 5, int(rng.integers(0, slices - 3))
            truth_SC[first : first + 3, [0, kind]] = 1
        logits_SC = skill * (2 * truth_SC - 1) - 1 + 1.5 * noise.normal(size=truth_SC.shape)
        known_SC = np.where(rng.random(truth_SC.shape) < unknown, -1, truth_SC).astype(np.int8)
        readings.append(
            ScanReading(
                study_id=f"ID_s{k:04}",
                patient_id=f"ID_p{k // 2:04}",
                image_ids=tuple((f"ID_{k:04}{s:05}",) for s in range(slices)),
                z_mm=tuple(5.0 * s for s in range(slices)),
                p_SC=1 / (1 + np.exp(-logits_SC)),
                truth_SC=known_SC,
                truth_C=np.asarray(truth_SC.max(axis=0), dtype=np.int8),
                groups={"encoding": ("16-bit signed -1024", "12-bit unsigned -1024")[k % 2], "thickness": "5 mm"},
            )
        )
    return readings


def made_subject(name: str = "resnet50") -> Subject:
    return Subject(
        model=name,
        version="2026.1",
        weights_sha256="ab" * 32,
        statement="trained on synthetic data: demonstration only",
        training_data="phantoms",
        engine="torch cpu fp32",
        data="packed",
        data_sha256="cd" * 32,
        split="test",
    )


def made_report(readings: list[ScanReading], *, against: list[ScanReading] | None = None) -> Report:
    """Of a demonstration model with a zone of doubt."""
    thresholds = {"any": ThresholdSpec(present_from=0.8, absent_below=0.3)}
    return Report(
        subject=made_subject(),
        evaluation=evaluate(readings, thresholds=thresholds, rounds=30),
        against=None if against is None else made_subject("resnet50-2d"),
        difference=None if against is None else compare(readings, against, rounds=30),
        seconds_a_scan=0.42,
        seconds_a_scan_flipped=0.81,
        caveats=("The model is a demonstration: nothing here says how it reads patients.",),
    )
