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

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.engines.engine import Engine
from training.measures.basic import METRIC_WEIGHTS, Floats, auc
from training.measures.bootstrap import auc_of, resampled
from training.measures.log_loss import losses as label_losses
from training.packed.reading import ScanReading, read_studies
from training.packed.study import UNKNOWN, PackedStudy

_ANY = CLASSES.index("any")
_DRAWS = 2000

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
    patients = [reading.patient_id for reading in before]
    first, second = (
        auc_of(np.array([reading.reported_C[_ANY] for reading in readings]), bleeds_N) for readings in (before, after)
    )
    sums, weights = losses[1].sums_N - losses[0].sums_N, losses[0].weights_N
    auc_difference = _difference(lambda drawn_N: second(drawn_N) - first(drawn_N), patients, draws)
    log_loss_difference = _difference(lambda drawn_N: float(drawn_N @ sums / (drawn_N @ weights)), patients, draws)
    return GateResult(
        scans=len(before),
        scans_with_bleed=int(bleeds_N.sum()),
        patients=len(set(patients)),
        margin=margin,
        log_loss_by="slice" if by_slice else "scan",
        current=figures[0],
        candidate=figures[1],
        auc_difference=auc_difference,
        log_loss_difference=log_loss_difference,
        objections=_objections(auc_difference, log_loss_difference, margin),
        remarks=_remarks(auc_difference, log_loss_difference, margin, len(set(patients))),
    )


def _objections(auc_difference: Difference, log_loss_difference: Difference, margin: float) -> tuple[str, ...]:
    found = []
    if auc_difference.value < -margin:
        found.append(f"its AUC of any haemorrhage by scan is lower by {-auc_difference.value:.4f}")
    if log_loss_difference.value > margin:
        found.append(f"its weighted log loss is higher by {log_loss_difference.value:.4f}")
    return tuple(found)


def _remarks(
    auc_difference: Difference, log_loss_difference: Difference, margin: float, patients: int
) -> tuple[str, ...]:
    said = []
    if auc_difference.low < -margin <= auc_difference.value:
        said.append(f"AUC may be lower by {-auc_difference.low:.3f}")
    if log_loss_difference.high > margin >= log_loss_difference.value:
        said.append(f"log loss may be higher by {log_loss_difference.high:.3f}")
    return tuple(
        f"{patients} patients are too few to be sure: by chance alone the candidate's {one}, more than the margin of "
        f"{margin:g}"
        for one in said
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
        p_NC = reading.p_SC if by_slice else reading.reported_C[None]
        each_NC = label_losses(p_NC, reading.truth_SC if by_slice else reading.truth_C[None])
        sums.append(float(np.nansum(each_NC * METRIC_WEIGHTS)))
        weights.append(float((~np.isnan(each_NC) * METRIC_WEIGHTS).sum()))
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
        auc_any_scan=auc_of(np.array([reading.reported_C[_ANY] for reading in readings]), bleeds_N)(
            np.ones(len(readings))
        ),
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


def _difference(statistic: Callable[[Floats], float], patients: Sequence[str], draws: int) -> Difference:
    low, high = np.nanpercentile(resampled(statistic, patients, rounds=draws, seed=0), (2.5, 97.5))
    return Difference(value=float(statistic(np.ones(len(patients)))), low=float(low), high=float(high))
