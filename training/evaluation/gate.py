"""The gate of a promotion: a candidate must not be worse than the model in force, on scans whose truth is known.

Shapes: N scans or slices, C = 6 classes in the order of `ichd.domain.finding.CLASSES`.

Two figures decide, each with the same margin: the AUC of any haemorrhage by scan, which is what triage sorts by, and
the weighted log loss, which also tells of probabilities that rank as before but mean something else. The rest is told,
not judged: five more classes, each with its own chance to fail, would fail a model that is as good by luck alone.

Both models read the same scans, so what is hard about a scan cancels out: intervals are of the paired difference, by
a bootstrap over patients (Efron 1979), whose scans are drawn together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.engines.engine import Engine
from training.measures.basic import METRIC_WEIGHTS, Flags, Floats, auc
from training.packed.reading import ScanReading, read_studies
from training.packed.study import UNKNOWN, PackedStudy

_ANY = CLASSES.index("any")
_DRAWS = 2000
#: As `training.measures.basic` has it: one sure mistake stays finite.
_SUREST = 1e-7

OnScan = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One model on the reference set; None where a class has one side only."""

    auc_any_scan: float
    auc_any_slice: float | None
    #: By class, at scan level.
    auc_scan: Mapping[str, float | None]
    weighted_log_loss: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Candidate minus current, with the bounds of a 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """What the gate saw, and what it says."""

    scans: int
    scans_with_bleed: int
    patients: int
    margin: float
    #: What the log loss is a mean over: "slice", or "scan" where some scans are labelled as a whole only.
    log_loss_by: str
    current: Figures
    candidate: Figures
    auc_difference: Difference
    log_loss_difference: Difference
    #: Why it does not pass; empty where it does.
    objections: tuple[str, ...]
    #: What a reader of the figures should know.
    remarks: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Not worse by more than the margin."""
        return not self.objections

    def to_record(self) -> dict[str, Any]:
        """As it is stored with a promotion."""
        return {"passed": self.passed, **asdict(self)}


def gate(
    current: Engine,
    candidate: Engine,
    studies: Sequence[PackedStudy],
    margin: float,
    *,
    on_scan: OnScan = lambda _which, _done, _all: None,
) -> GateResult:
    """Read all studies with both, and compare.

    `on_scan` is told "current" or "candidate", and how many scans of how many are done.

    Raises:
        UserError: a shard is damaged, or the studies can't tell a good model from a bad one.
    """
    said = {
        which: list(read_studies(engine, studies, on_scan=partial(on_scan, which)))
        for which, engine in (("current", current), ("candidate", candidate))
    }
    return compare(said["current"], said["candidate"], margin)


def compare(
    current: Sequence[ScanReading], candidate: Sequence[ScanReading], margin: float, *, draws: int = _DRAWS
) -> GateResult:
    """The same of what both have said about the same scans, in the same order; intervals of so many bootstrap draws.

    Raises:
        UserError: no scan bleeds, or all do.
    """
    truth_N = np.array([reading.truth_C[_ANY] for reading in current])
    # A scan of which it is not known whether it bleeds says nothing about a model.
    told = [index for index, truth in enumerate(truth_N) if truth != UNKNOWN]
    before, after = [current[i] for i in told], [candidate[i] for i in told]
    bleeds_N = truth_N[told] == 1
    if bleeds_N.all() or not bleeds_N.any():
        raise UserError(
            f"the reference set has {int(bleeds_N.sum())} scans with and {int((~bleeds_N).sum())} without haemorrhage; "
            "it needs some of both to tell a good model from a bad one, name another by --reference"
        )
    # Of a scan that is labelled as a whole, what the slices of a positive show is unknown.
    by_slice = not any((reading.truth_SC == UNKNOWN).any() for reading in before)
    losses = [_losses(readings, by_slice=by_slice) for readings in (before, after)]
    figures = [_figures(readings, loss) for readings, loss in zip((before, after), losses, strict=True)]
    bootstrap = _Bootstrap([reading.patient_id for reading in before], draws)
    scores = [np.array([reading.reported_C[_ANY] for reading in readings]) for readings in (before, after)]
    auc_difference = _difference(
        figures[1].auc_any_scan - figures[0].auc_any_scan,
        bootstrap.each(lambda rows: _auc(scores[1][rows], bleeds_N[rows]) - _auc(scores[0][rows], bleeds_N[rows])),
    )
    sums = losses[1].sums_N - losses[0].sums_N
    log_loss_difference = _difference(
        figures[1].weighted_log_loss - figures[0].weighted_log_loss,
        bootstrap.each(lambda rows: float(sums[rows].sum() / max(losses[0].weights_N[rows].sum(), 1e-9))),
    )
    return GateResult(
        scans=len(before),
        scans_with_bleed=int(bleeds_N.sum()),
        patients=bootstrap.patients,
        margin=margin,
        log_loss_by="slice" if by_slice else "scan",
        current=figures[0],
        candidate=figures[1],
        auc_difference=auc_difference,
        log_loss_difference=log_loss_difference,
        objections=_objections(auc_difference, log_loss_difference, margin),
        remarks=_remarks(auc_difference, margin, bootstrap.patients),
    )


def _objections(auc_difference: Difference, log_loss_difference: Difference, margin: float) -> tuple[str, ...]:
    found = []
    if auc_difference.value < -margin:
        found.append(f"its AUC of any haemorrhage by scan is lower by {-auc_difference.value:.4f}")
    if log_loss_difference.value > margin:
        found.append(f"its weighted log loss is higher by {log_loss_difference.value:.4f}")
    return tuple(found)


def _remarks(auc_difference: Difference, margin: float, patients: int) -> tuple[str, ...]:
    if auc_difference.low >= -margin:
        return ()
    return (
        f"{patients} patients are too few to be sure: by chance alone the candidate's AUC may be lower by "
        f"{-auc_difference.low:.3f}, more than the margin of {margin:g}",
    )


@dataclass(frozen=True, kw_only=True)
class _Losses:
    """Of each scan, the weighted losses of its known labels, and their weights."""

    sums_N: Floats
    weights_N: Floats

    @property
    def mean(self) -> float:
        return float(self.sums_N.sum() / self.weights_N.sum())


def _losses(readings: Sequence[ScanReading], *, by_slice: bool) -> _Losses:
    sums, weights = [], []
    for reading in readings:
        p = reading.p_SC if by_slice else reading.reported_C[None]
        truth = reading.truth_SC if by_slice else reading.truth_C[None]
        clipped = np.clip(p, _SUREST, 1 - _SUREST)
        weight = np.where(truth == UNKNOWN, 0.0, np.array(METRIC_WEIGHTS))
        sums.append(float((weight * -np.where(truth == 1, np.log(clipped), np.log1p(-clipped))).sum()))
        weights.append(float(weight.sum()))
    return _Losses(sums_N=np.array(sums), weights_N=np.array(weights))


def _figures(readings: Sequence[ScanReading], losses: _Losses) -> Figures:
    by_scan = {
        name: _known_auc(
            np.array([reading.reported_C[c] for reading in readings]),
            np.array([reading.truth_C[c] for reading in readings]),
        )
        for c, name in enumerate(CLASSES)
    }
    bleeds_N = np.array([reading.truth_C[_ANY] == 1 for reading in readings])
    return Figures(
        auc_any_scan=_auc(np.array([reading.reported_C[_ANY] for reading in readings]), bleeds_N),
        auc_any_slice=_known_auc(
            np.concatenate([reading.p_SC[:, _ANY] for reading in readings]),
            np.concatenate([reading.truth_SC[:, _ANY] for reading in readings]),
        ),
        auc_scan=by_scan,
        weighted_log_loss=losses.mean,
    )


def _known_auc(scores_N: Floats, truth_N: NDArray[np.int8]) -> float | None:
    known_N = truth_N != UNKNOWN
    return auc(scores_N[known_N], truth_N[known_N] == 1)


def _auc(scores_N: Floats, y_N: Flags) -> float:
    """By ranks (Mann and Whitney), a tenth of the time of scikit-learn's; nan where a draw has one side only."""
    positives = int(y_N.sum())
    negatives = len(y_N) - positives
    if not positives or not negatives:
        return float("nan")
    return float((rankdata(scores_N)[y_N].sum() - positives * (positives + 1) / 2) / (positives * negatives))


class _Bootstrap:
    """Bootstrap draws of patients; the same set always gives the same ones."""

    def __init__(self, patient_ids: Sequence[str], draws: int) -> None:
        names, owner_N = np.unique(np.array(patient_ids), return_inverse=True)
        self.patients = len(names)
        self._draws = draws
        self._scans = [np.flatnonzero(owner_N == patient) for patient in range(self.patients)]

    def each(self, statistic: Callable[[NDArray[np.intp]], float]) -> Floats:
        """The statistic of each draw, which is given as numbers of scans."""
        rng = np.random.default_rng(0)
        drawn = (rng.integers(0, self.patients, self.patients) for _ in range(self._draws))
        return np.array([statistic(np.concatenate([self._scans[patient] for patient in draw])) for draw in drawn])


def _difference(value: float, drawn: Floats) -> Difference:
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return Difference(value=float(value), low=float(low), high=float(high))
