"""Where a model was surest and wrong: what to look at first.

Shapes: N rows, C = 6 classes in the order of `ichd.domain.finding.CLASSES`.
"""

from dataclasses import dataclass

import numpy as np

from ichd.domain.finding import CLASSES
from training.measures.basic import Floats, Labels
from training.measures.log_loss import losses


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One label that a model was far from."""

    #: 0-based, in the arrays that were given.
    row: int
    name: str
    said: float
    present: bool
    #: Natural logarithm.
    loss: float


def worst(p_NC: Floats, y_NC: Labels, *, most: int = 20) -> tuple[Mistake, ...]:
    """The labels with the highest loss on the wrong side of a half, each row once, the worst first."""
    each_NC = losses(p_NC, y_NC)
    wrong_NC = (y_NC >= 0) & ((p_NC >= 0.5) != (y_NC == 1))
    each_NC = np.where(wrong_NC, each_NC, -np.inf)
    class_N = each_NC.argmax(axis=1)
    loss_N = each_NC[np.arange(len(each_NC)), class_N]
    rows = [int(row) for row in np.argsort(-loss_N, kind="stable")[:most] if np.isfinite(loss_N[row])]
    return tuple(
        Mistake(
            row=row,
            name=CLASSES[class_N[row]],
            said=float(p_NC[row, class_N[row]]),
            present=bool(y_NC[row, class_N[row]] == 1),
            loss=float(loss_N[row]),
        )
        for row in rows
    )
