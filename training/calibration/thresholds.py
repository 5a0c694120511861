"""Scan-level thresholds for a wished sensitivity and specificity.

Shapes: N scans, C = 6 classes.
"""

import numpy as np

from ichd.domain.finding import CLASSES
from ichd.vision.manifest import ThresholdSpec
from training.measures.basic import Flags, Floats, expit, logit
from training.recipe import Reading


def fix_thresholds(
    p_NC: Floats, y_NC: Flags, reading: Reading, *, known_NC: Flags | None = None
) -> dict[str, ThresholdSpec]:
    """Scan-level thresholds by class, of the scans whose truth is known; one without both answers keeps the defaults.

    Two probabilities matter: the one that `present_specificity` of the scans without the class stay below, and the one
    that `absent_sensitivity` of the scans with it reach. Where the classes overlap, what lies between the two is
    undetermined. Where they do not, those two say nothing about scans unlike any seen, and a zone as wide as the gap
    would swallow them: the line is drawn through the middle, with `least_doubt` (in logits) on either side.
    """
    thresholds: dict[str, ThresholdSpec] = {}
    logits_NC = logit(p_NC)
    for c, name in enumerate(CLASSES):
        known_N = np.ones(len(y_NC), dtype=np.bool_) if known_NC is None else known_NC[:, c]
        with_it, without = logits_NC[known_N & y_NC[:, c], c], logits_NC[known_N & ~y_NC[:, c], c]
        if not len(with_it) or not len(without):
            continue
        specific = float(np.quantile(without, reading.present_specificity))
        sensitive = float(np.quantile(with_it, 1 - reading.absent_sensitivity))
        middle, doubt = (specific + sensitive) / 2, max((specific - sensitive) / 2, reading.least_doubt)
        # In logits to the end: a sure model's thresholds would round to 0 and 1, which no probability passes.
        thresholds[name] = ThresholdSpec(
            present_from=float(expit(np.array(middle + doubt))), absent_below=float(expit(np.array(middle - doubt)))
        )
    return thresholds
