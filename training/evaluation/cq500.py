"""The paper's Table 2: a bundle on CQ500, beside what was published and beside the comparator on the same scans.

Whoever reads the scans hands them in as `CaseReading`: series are chosen by the daemon's own rules, which live above
this room. A scan counts as one case; CQ500 has one scan a patient.

Shapes: N scans, C = 6 classes in the order of `ichd.domain.finding.CLASSES`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.manifest import Manifest
from training.cases.cq500_reads import Predictions
from training.measures.basic import Flags, Floats, auc
from training.measures.bootstrap import auc_of, bootstrap
from training.measures.interval import Interval
from training.measures.roc import Comparison, delong, delong_test

_RESAMPLES = 2000
_NAMES_CQ500 = re.compile(r"CQ[-_ ]?500", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class SeriesLine:
    """One stack of images of a study: what it is, and whether it was read."""

    series_uid: str
    #: Of several stacks in a series, counted from 1.
    stack: int | None
    series_number: int | None
    description: str
    kernel: str
    images: int
    thickness_mm: float
    coverage_mm: float
    contrast: bool
    read: bool
    #: The daemon's code, and the numbers behind it; empty of the one that was read.
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class CaseReading:
    """One study: what the model says of it, or why it says nothing."""

    #: As "CQ500-CT-0".
    name: str
    #: What two of three readers said, bool [C].
    truth_C: Flags
    #: Scan level: the maximum over the slices (paper), [C]; None where nothing was read.
    p_C: Floats | None = None
    #: A code for people, and its numbers, where nothing was read.
    reason: str = ""
    detail: str = ""
    #: Best first.
    series: tuple[SeriesLine, ...] = ()
    #: Slices that the model saw.
    slices: int = 0

    @property
    def chosen(self) -> SeriesLine | None:
        """The series that was read."""
        return next((line for line in self.series if line.read), None)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One class of the table; what can't be said, for lack of positives or of a comparator, is None."""

    name: str
    positives: int
    scans: int
    ours: Interval | None
    #: By drawing the patients again.
    ours_bootstrap: Interval | None
    #: Of the comparator, recomputed on the very scans that we read and it has predictions of.
    comparator: Interval | None
    #: On all scans with a read and a prediction, whether we read them or not: comparable with what was published.
    comparator_all: float | None
    #: Ours less the comparator's, on `shared` scans.
    against_comparator: Comparison | None
    shared: int
    #: Ours if every scan that was not read had been called positive, or negative, for sure.
    if_positive: float | None
    if_negative: float | None


@dataclass(frozen=True, kw_only=True)
class Table2:
    """Ours, class by class."""

    rows: tuple[Row, ...]
    read: int
    unread: tuple[CaseReading, ...] = field(default=())


def require_never_learnt(manifest: Manifest) -> None:
    """A model that saw CQ500, by its own or by pseudo labels, says nothing about itself there.

    Raises:
        UserError: the manifest's training_data names CQ500.
    """
    if _NAMES_CQ500.search(manifest.training_data):
        raise UserError(
            f"the training data of {manifest.name} {manifest.version} name CQ500 ({manifest.training_data!r}): its "
            "figures there would mean nothing; evaluate it on scans that it has not learnt from"
        )


def table2(cases: Sequence[CaseReading], predictions: Predictions | None, *, seed: int = 0) -> Table2:
    """Every class of the table; `seed` is that of the bootstrap."""
    read = [case for case in cases if case.p_C is not None]
    return Table2(
        rows=tuple(_row(c, cases, predictions, seed) for c in range(len(CLASSES))),
        read=len(read),
        unread=tuple(case for case in cases if case.p_C is None),
    )


def _row(c: int, cases: Sequence[CaseReading], predictions: Predictions | None, seed: int) -> Row:
    read = [(case, case.p_C) for case in cases if case.p_C is not None]
    y_N = _flags([case for case, _ in read], c)
    p_N = np.array([p_C[c] for _, p_C in read], dtype=np.float64)
    theirs = predictions.p_C if predictions else {}
    both = np.array([case.name in theirs for case, _ in read], dtype=bool)
    q_N = np.array([theirs[case.name][c] for case, _ in read if case.name in theirs], dtype=np.float64)
    predicted = [case for case in cases if case.name in theirs]
    every_q = np.array([theirs[case.name][c] for case in predicted], dtype=np.float64)
    comparator = delong(q_N, y_N[both])
    return Row(
        name=CLASSES[c],
        positives=int(y_N.sum()),
        scans=len(y_N),
        ours=delong(p_N, y_N),
        ours_bootstrap=bootstrap(auc_of(p_N, y_N), [case.name for case, _ in read], rounds=_RESAMPLES, seed=seed),
        comparator=comparator,
        comparator_all=auc(every_q, _flags(predicted, c)) if predicted else None,
        against_comparator=delong_test(p_N[both], q_N, y_N[both]) if comparator is not None else None,
        shared=int(both.sum()),
        if_positive=_with_unread(c, cases, 1.0),
        if_negative=_with_unread(c, cases, 0.0),
    )


def _flags(cases: Sequence[CaseReading], c: int) -> Flags:
    return np.array([case.truth_C[c] for case in cases], dtype=bool)


def _with_unread(c: int, cases: Sequence[CaseReading], called: float) -> float | None:
    p_N = np.array([called if case.p_C is None else case.p_C[c] for case in cases], dtype=np.float64)
    return auc(p_N, _flags(cases, c)) if len(cases) else None
