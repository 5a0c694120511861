"""From readings to figures.

Shapes: N slices or scans, C = 6 classes in the order of `ichd.domain.finding.CLASSES`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.manifest import ThresholdSpec
from training.evaluation.figures import ClassFigures, Counts, Difference, Evaluation, Level, Operation, WorstCase
from training.measures.basic import Floats, Labels
from training.measures.bootstrap import auc_of, bootstrap, weighted_log_loss_of
from training.measures.calibration import brier, expected_calibration_error
from training.measures.log_loss import LogLoss, log_loss, losses
from training.measures.operating import at_prevalence, at_threshold
from training.measures.roc import Comparison, delong, delong_test
from training.measures.subgroups import Subgroup, subgroups
from training.measures.worst import worst
from training.packed.reading import ScanReading

#: The group that says whether a patient stands in another split, too: "yes" or "no".
SHARED = "shared patient"
#: Where a call is judged: a quiet clinic, the site of the published triage studies, an emergency department.
PREVALENCES = (0.01, 0.027, 0.10)
ROUNDS = 2000
_ANY = CLASSES.index("any")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Probabilities beside truth, with whose they are."""

    p_NC: Floats
    #: 1, 0 or -1 (unknown).
    y_NC: Labels
    patients_N: tuple[str, ...]


def slice_rows(readings: Sequence[ScanReading]) -> Rows:
    """Every slice of every scan."""
    return Rows(
        p_NC=np.concatenate([one.p_SC for one in readings]),
        y_NC=np.concatenate([one.truth_SC for one in readings]),
        patients_N=tuple(one.patient_id for one in readings for _ in one.z_mm),
    )


def scan_rows(readings: Sequence[ScanReading]) -> Rows:
    """One row a scan, with what its bundle reports of it."""
    return Rows(
        p_NC=np.stack([one.reported_C for one in readings]),
        y_NC=np.stack([one.truth_C for one in readings]),
        patients_N=tuple(one.patient_id for one in readings),
    )


def evaluate(
    readings: Sequence[ScanReading],
    *,
    thresholds: Mapping[str, ThresholdSpec],
    prevalences: Sequence[float] = PREVALENCES,
    seed: int = 0,
    rounds: int = ROUNDS,
) -> Evaluation:
    """Every figure of the readings; `thresholds`, by class, must have been fixed on other patients.

    Raises:
        UserError: there are no readings.
    """
    if not readings:
        raise UserError("no scan was read, so there is nothing to evaluate; name another split")
    slices, scans = slice_rows(readings), scan_rows(readings)
    return Evaluation(
        counts=_counts(readings, slices, scans),
        slices=_level(slices, seed, rounds),
        scans=_level(scans, seed, rounds),
        log_loss_unshared=_unshared(readings),
        operations=tuple(_operations(scans, thresholds, prevalences)),
        subgroups=tuple(_subgroups(readings, scans)),
        worst_slices=tuple(_worst_slices(readings, slices)),
        worst_scans=tuple(_worst_scans(readings, scans)),
        rounds=rounds,
        seed=seed,
    )


def compare(
    first: Sequence[ScanReading],
    second: Sequence[ScanReading],
    *,
    seed: int = 0,
    rounds: int = ROUNDS,
) -> Difference:
    """DeLong's test by class between two models' readings of the same scans, and the difference of their log losses.

    Raises:
        UserError: the scans are not the same.
    """
    if [(one.study_id, one.image_ids) for one in first] != [(one.study_id, one.image_ids) for one in second]:
        raise UserError("the two models did not read the same scans; evaluate both on the same data and split")
    a, b = scan_rows(first), scan_rows(second)
    slices, other = slice_rows(first), slice_rows(second)
    loss, other_loss = weighted_log_loss_of(slices.p_NC, slices.y_NC), weighted_log_loss_of(other.p_NC, other.y_NC)
    return Difference(
        scans=len(first),
        by_class={name: _compare_class(a, b, c) for c, name in enumerate(CLASSES)},
        log_loss=bootstrap(lambda w_N: loss(w_N) - other_loss(w_N), slices.patients_N, rounds=rounds, seed=seed),
    )


def _compare_class(a: Rows, b: Rows, c: int) -> Comparison | None:
    known_N, y_N = a.y_NC[:, c] >= 0, a.y_NC[:, c] == 1
    if not y_N.any() or not (known_N & ~y_N).any():
        return None
    return delong_test(a.p_NC[known_N, c], b.p_NC[known_N, c], y_N[known_N])


def _counts(readings: Sequence[ScanReading], slices: Rows, scans: Rows) -> Counts:
    unknown_C = (slices.y_NC < 0).sum(axis=0)
    return Counts(
        scans=len(readings),
        patients=len(set(scans.patients_N)),
        slices=len(slices.p_NC),
        images=sum(len(ids) for one in readings for ids in one.image_ids),
        bleeding_scans=int((scans.y_NC[:, _ANY] == 1).sum()),
        bleeding_slices=int((slices.y_NC[:, _ANY] == 1).sum()),
        unknown_labels={name: int(count) for name, count in zip(CLASSES, unknown_C, strict=True)},
    )


def _level(rows: Rows, seed: int, rounds: int) -> Level:
    return Level(
        log_loss=log_loss(rows.p_NC, rows.y_NC),
        log_loss_interval=bootstrap(
            weighted_log_loss_of(rows.p_NC, rows.y_NC), rows.patients_N, rounds=rounds, seed=seed
        ),
        by_class={name: _class_figures(rows, c, seed, rounds) for c, name in enumerate(CLASSES)},
    )


def _class_figures(rows: Rows, c: int, seed: int, rounds: int) -> ClassFigures:
    known_N = rows.y_NC[:, c] >= 0
    p_N, y_N = rows.p_NC[known_N, c], rows.y_NC[known_N, c] == 1
    area = delong(p_N, y_N)
    patients_N = np.array(rows.patients_N)[known_N]
    each = losses(rows.p_NC, rows.y_NC)[known_N, c]
    return ClassFigures(
        rows=len(y_N),
        positives=int(y_N.sum()),
        auc=area,
        auc_by_patient=None if area is None else bootstrap(auc_of(p_N, y_N), patients_N, rounds=rounds, seed=seed),
        log_loss=float(each.mean()) if len(each) else None,
        brier=brier(p_N, y_N),
        ece_mass=expected_calibration_error(p_N, y_N, by="mass"),
        ece_width=expected_calibration_error(p_N, y_N, by="width"),
    )


def _unshared(readings: Sequence[ScanReading]) -> LogLoss | None:
    alone = [one for one in readings if one.groups.get(SHARED) == "no"]
    if not alone or len(alone) == len(readings):
        return None
    rows = slice_rows(alone)
    return log_loss(rows.p_NC, rows.y_NC)


def _operations(
    scans: Rows, thresholds: Mapping[str, ThresholdSpec], prevalences: Sequence[float]
) -> Iterable[Operation]:
    for c, name in enumerate(CLASSES):
        threshold = thresholds.get(name, ThresholdSpec())
        known_N = scans.y_NC[:, c] >= 0
        p_N, y_N = scans.p_NC[known_N, c], scans.y_NC[known_N, c] == 1
        point = at_threshold(p_N, y_N, threshold.present_from)
        at = tuple(at_prevalence(point, prevalence) for prevalence in prevalences)
        yield Operation(name=name, call="present", point=point, at=at)
        if threshold.absent_below < threshold.present_from:
            point = at_threshold(p_N, y_N, threshold.absent_below)
            at = tuple(at_prevalence(point, prevalence) for prevalence in prevalences)
            yield Operation(name=name, call="not absent", point=point, at=at)


def _subgroups(readings: Sequence[ScanReading], scans: Rows) -> Iterable[Subgroup]:
    kinds = list(dict.fromkeys(kind for one in readings for kind in one.groups))
    for kind in kinds:
        yield from subgroups(kind, [one.groups.get(kind, "not known") for one in readings], scans.p_NC, scans.y_NC)


def _worst_slices(readings: Sequence[ScanReading], slices: Rows) -> Iterable[WorstCase]:
    where = [(one, index) for one in readings for index in range(len(one.z_mm))]
    for mistake in worst(slices.p_NC, slices.y_NC):
        reading, index = where[mistake.row]
        yield WorstCase(
            study_id=reading.study_id,
            image_id=" ".join(reading.image_ids[index]),
            z_mm=reading.z_mm[index],
            name=mistake.name,
            said=mistake.said,
            present=mistake.present,
            loss=mistake.loss,
        )


def _worst_scans(readings: Sequence[ScanReading], scans: Rows) -> Iterable[WorstCase]:
    for mistake in worst(scans.p_NC, scans.y_NC):
        yield WorstCase(
            study_id=readings[mistake.row].study_id,
            image_id=None,
            z_mm=None,
            name=mistake.name,
            said=mistake.said,
            present=mistake.present,
            loss=mistake.loss,
        )
