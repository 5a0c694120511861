"""A run may start from a backbone's own weights."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from ichd.domain.errors import UserError
from ichd.vision.starting_point import import_backbone, save_starting_point
from tests.training.conftest import TINY
from training.learner import Learner
from training.recipe import load_recipe
from training.run import train


@pytest.fixture
def start(tmp_path: Path) -> Path:
    backbone = str(TINY["network.backbone"])
    save_file(timm.create_model(backbone).state_dict(), tmp_path / "timm.safetensors")
    save_starting_point(tmp_path / "start.safetensors", import_backbone(tmp_path / "timm.safetensors", backbone))
    return tmp_path / "start.safetensors"


def test_the_learner_starts_from_the_file_that_the_recipe_names(start: Path) -> None:
    given = import_backbone(start.with_name("timm.safetensors"), str(TINY["network.backbone"])).state_dict
    learner = Learner(load_recipe("phantom-demo", TINY | {"init": str(start)}))
    for key, value in learner.network.backbone.state_dict().items():
        assert torch.equal(value, given[key]), key


def test_another_backbone_is_refused(start: Path) -> None:
    recipe = load_recipe("phantom-demo", TINY | {"init": str(start), "network.backbone": "mobilenetv3_small_075"})
    with pytest.raises(UserError, match="starting point is a mobilenetv3_small_050, the network a mobilenetv3_small_0"):
        Learner(recipe)


def test_a_missing_starting_point_is_known_before_anything_is_rendered(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent is not a file that exists"):
        train("phantom-demo", tmp_path / "run", overrides=TINY | {"init": "absent"})
    assert not (tmp_path / "run/phantoms").exists()
