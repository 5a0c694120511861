"""What an epoch is chosen by: slices where all are known, else whole scans."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.network import CnnLstm
from tests.training.conftest import PUBLISHED
from tests.training.lessons.making import study
from training.launch import launch
from training.lessons.source import PackedSource
from training.packed.study import UNKNOWN, PackedStudy
from training.recipe import load_recipe
from training.validate import validate

RECIPE = load_recipe("phantom-demo", PUBLISHED | {"data": {"kind": "packed", "processes": 0}})


class Says(CnnLstm):
    """Says the same of every slice."""

    def __init__(self, logit: float) -> None:
        super().__init__(RECIPE.network)
        torch.nn.init.zeros_(self.decoder.fc.weight)
        torch.nn.init.constant_(self.decoder.fc.bias, logit)


def healthy(name: str) -> PackedStudy:
    return study(np.zeros((4, len(CLASSES)), dtype=np.int8), name=name)


def bleeds(name: str) -> PackedStudy:
    """Somewhere, nobody says where."""
    slices = np.full((4, len(CLASSES)), UNKNOWN, dtype=np.int8)
    return study(slices, name=name, study_labels_C=np.ones(len(CLASSES), dtype=np.int8))


def loss(logit: float, *studies: PackedStudy) -> float:
    found = validate(Says(logit), PackedSource(studies), RECIPE, launch(RECIPE, device="cpu"), update=1, epoch=1)
    assert found.level == ("slice" if all((s.labels_SC >= 0).all() for s in studies) else "scan")
    return found.weighted_log_loss


def test_where_every_slice_is_known_slices_count() -> None:
    assert loss(-4.0, healthy("a")) < loss(0.0, healthy("a")) < loss(4.0, healthy("a"))


def test_who_never_sees_blood_is_not_the_best_where_blood_is_known_of_scans_alone() -> None:
    scans = (healthy("a"), bleeds("b"))
    assert loss(0.0, *scans) < loss(-4.0, *scans)
    assert loss(0.0, *scans) == pytest.approx(np.log(2), rel=1e-5)


def test_scans_of_which_nothing_is_known_choose_nothing(tmp_path: Path) -> None:
    unknown = np.full(len(CLASSES), UNKNOWN, dtype=np.int8)
    nothing = study(np.full((4, len(CLASSES)), UNKNOWN, dtype=np.int8), study_labels_C=unknown)
    with pytest.raises(UserError, match="index and pack studies with labels"):
        loss(0.0, nothing)
