"""How good the network is, between two epochs, on scans that it does not learn from."""

import numpy as np
from lightning_fabric import Fabric

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.network import CnnLstm
from training.journal import Validation
from training.lessons.source import Source
from training.measures.basic import auc
from training.measures.log_loss import log_loss
from training.packed.study import UNKNOWN
from training.reading import read
from training.recipe import Recipe


def validate(
    network: CnnLstm, source: Source, recipe: Recipe, fabric: Fabric, *, update: int, epoch: int
) -> Validation:
    """Weighted log loss and AUC over all slices whose truth is known."""
    readings = read(network, source, recipe, fabric)
    p_NC = 0.5 * (1 + np.tanh(readings.slice_logits / 2))
    y_NC, known_NC = readings.slice_truth, readings.slice_known
    loss = log_loss(p_NC, np.where(known_NC, y_NC, UNKNOWN).astype(np.int8))
    if loss is None:
        raise UserError("no slice of the scans to choose by has a label; index and pack studies that have")
    return Validation(
        update=update,
        epoch=epoch,
        weighted_log_loss=loss.weighted,
        by_class=loss.by_class,
        auc={name: auc(p_NC[known_NC[:, c], c], y_NC[known_NC[:, c], c]) for c, name in enumerate(CLASSES)},
    )
