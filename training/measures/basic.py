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


def weighted_log_loss(p_NC: Floats, y_NC: Flags) -> float:
    """Mean over rows of the class-weighted binary log loss, natural logarithm."""
    p = np.clip(p_NC, SUREST, 1 - SUREST)
    each = -np.where(y_NC, np.log(p), np.log1p(-p))
    return float((each * np.array(METRIC_WEIGHTS)).sum(axis=1).mean())


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
