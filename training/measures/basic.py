"""How good are probabilities? Figures on plain arrays.

Shapes: N rows (slices or scans), S slices of a scan, C = 6 classes in the order of `ichd.domain.finding.CLASSES`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from ichd.domain.finding import CLASSES

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
#: 1, 0 or -1 (unknown).
Labels = NDArray[np.int8]

#: The RSNA 2019 challenge's weights: any counts twice (paper, metric).
METRIC_WEIGHTS: tuple[float, ...] = (2 / 7, 1 / 7, 1 / 7, 1 / 7, 1 / 7, 1 / 7)
#: Probabilities closer to 0 or 1 than this count as if they were this close, so that one sure mistake stays finite.
SUREST = 1e-7
#: The same for log odds, which must stay apart where probabilities hardly do.
SUREST_LOGIT = 1e-9


def weighted_log_loss(p_NC: Floats, y_NC: Flags) -> float:
    """Mean over rows of the class-weighted binary log loss, natural logarithm."""
    p = np.clip(p_NC, SUREST, 1 - SUREST)
    each = -np.where(y_NC, np.log(p), np.log1p(-p))
    return float((each * np.array(METRIC_WEIGHTS)).sum(axis=1).mean())


def logit(p: Floats) -> Floats:
    """Log odds, of any shape; of 0 and 1 as if they were a little inside."""
    inside = np.clip(p, SUREST_LOGIT, 1 - SUREST_LOGIT)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def expit(logits: Floats) -> Floats:
    """Probabilities of log odds, of any shape; by tanh, which never overflows."""
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))


def auc(scores_N: Floats, y_N: Flags) -> float | None:
    """Area under the ROC curve; None where only one side exists, for which it has no meaning."""
    if y_N.all() or not y_N.any():
        return None
    return float(roc_auc_score(y_N, scores_N))


def auc_by_class(p_NC: Floats, y_NC: Flags) -> dict[str, float | None]:
    """`auc` of each class by its name."""
    return {name: auc(p_NC[:, c], y_NC[:, c]) for c, name in enumerate(CLASSES)}


def scan_level(slices_SC: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Maximum over the slices of each scan (paper, scan-level result): [N, C] of N arrays [S, C]."""
    return np.stack([scan_SC.max(axis=0) for scan_SC in slices_SC])
