"""The same figures for parts of the rows: a mean hides whom a model fails.

Shapes: N rows (slices or scans), C = 6 classes in the order of `ichd.domain.finding.CLASSES`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ichd.domain.finding import CLASSES
from training.measures.basic import Floats, Labels
from training.measures.interval import Interval
from training.measures.log_loss import log_loss
from training.measures.roc import delong

_ANY = CLASSES.index("any")


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """Rows that share a property."""

    #: As "encoding" and "12-bit unsigned -1024".
    kind: str
    name: str
    rows: int
    #: Rows with any haemorrhage.
    positives: int
    #: Of `any`; None where only one side exists.
    auc: Interval | None
    #: Weighted; None where no label is known.
    log_loss: float | None


def subgroups(kind: str, names_N: Sequence[str], p_NC: Floats, y_NC: Labels) -> tuple[Subgroup, ...]:
    """One a name, the largest first."""
    names = np.asarray(names_N, dtype=np.str_)
    every = [_subgroup(kind, str(name), p_NC[names == name], y_NC[names == name]) for name in np.unique(names)]
    return tuple(sorted(every, key=lambda one: (-one.rows, one.name)))


def _subgroup(kind: str, name: str, p_NC: Floats, y_NC: Labels) -> Subgroup:
    known_N = y_NC[:, _ANY] >= 0
    loss = log_loss(p_NC, y_NC)
    return Subgroup(
        kind=kind,
        name=name,
        rows=len(y_NC),
        positives=int((y_NC[:, _ANY] == 1).sum()),
        auc=delong(p_NC[known_N, _ANY], y_NC[known_N, _ANY] == 1),
        log_loss=None if loss is None else loss.weighted,
    )
