"""How good the network is, between two epochs, on scans that it does not learn from."""

import numpy as np
from lightning_fabric import Fabric

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.network import CnnLstm
from training.journal import Validation
from training.lessons.source import Source
from training.measures.basic import Flags, Floats, auc
from training.measures.log_loss import log_loss
from training.packed.study import UNKNOWN
from training.reading import Readings, read
from training.recipe import Recipe


def validate(
    network: CnnLstm, source: Source, recipe: Recipe, fabric: Fabric, *, update: int, epoch: int
) -> Validation:
    """Weighted log loss and AUC, over slices where the truth of each is known, else over scans.

    Of scans that are labelled as a whole, only the slices of the healthy are known: a network that never sees blood
    would be the best of all.

    Raises:
        UserError: nothing is known of any scan.
    """
    readings = read(network, source, recipe, fabric)
    p_NC, y_NC, known_NC = _by_slice(readings) if readings.slice_known.all() else _by_scan(readings)
    loss = log_loss(p_NC, np.where(known_NC, y_NC, UNKNOWN).astype(np.int8))
    if loss is None:
        raise UserError("nothing is known of the scans to choose the best epoch by; index and pack studies with labels")
    return Validation(
        update=update,
        epoch=epoch,
        level="slice" if readings.slice_known.all() else "scan",
        weighted_log_loss=loss.weighted,
        by_class=loss.by_class,
        auc={name: auc(p_NC[known_NC[:, c], c], y_NC[known_NC[:, c], c]) for c, name in enumerate(CLASSES)},
    )


def _by_slice(readings: Readings) -> tuple[Floats, Flags, Flags]:
    return readings.slice_probabilities({}), readings.slice_truth, readings.slice_known


def _by_scan(readings: Readings) -> tuple[Floats, Flags, Flags]:
    return readings.scan_probabilities({}), readings.scan_truth, readings.scan_known
