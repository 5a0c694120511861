"""ImageNet weights from a file: read by timm's names, kept without the classifier, put under a network."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from ichd.domain.errors import UserError
from ichd.vision.manifest import NetworkSpec, RecurrentSpec
from ichd.vision.network import CnnLstm
from ichd.vision.starting_point import import_backbone, load_starting_point, save_starting_point, start_from

SMALL = "resnet10t"
SPEC = NetworkSpec(backbone=SMALL, recurrent=RecurrentSpec(layers=1, hidden=8))


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("timm") / "resnet10t.safetensors"
    save_file(timm.create_model(SMALL).state_dict(), path)
    return path


def test_a_network_starts_from_the_imported_backbone(weights_file: Path, tmp_path: Path) -> None:
    point = import_backbone(weights_file, SMALL)
    save_starting_point(tmp_path / "new/start.safetensors", point)
    network = CnnLstm(SPEC).eval()
    head = network.decoder.fc.weight.clone()
    start_from(network, load_starting_point(tmp_path / "new/start.safetensors"))

    original: Any = timm.create_model(SMALL, checkpoint_path=str(weights_file)).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = original.forward_head(original.forward_features(x), pre_logits=True)
        torch.testing.assert_close(network.embed(x), expected, atol=1e-6, rtol=0)
    assert torch.equal(network.decoder.fc.weight, head)


def test_torchvisions_names_are_timms_for_a_resnet(tmp_path: Path) -> None:
    torch.manual_seed(4)
    model = torchvision.models.resnet50()
    torch.save(model.state_dict(), tmp_path / "resnet50.pth")
    point = import_backbone(tmp_path / "resnet50.pth", "resnet50.tv_in1k")
    assert point.backbone == "resnet50"
    assert not any(key.startswith("fc.") for key in point.state_dict)
    assert torch.equal(point.state_dict["layer4.2.conv3.weight"], model.layer4[2].conv3.weight)


def test_another_backbone_names_what_differs(weights_file: Path) -> None:
    with pytest.raises(UserError, match=r"is not timm's resnet50: \d+ missing, first .*--backbone"):
        import_backbone(weights_file, "resnet50")


def test_a_backbone_that_timm_lacks(weights_file: Path) -> None:
    with pytest.raises(UserError, match="--backbone 'resnet_fifty'"):
        import_backbone(weights_file, "resnet_fifty")


def test_weights_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    weights = timm.create_model(SMALL).state_dict()
    weights["layer1.0.conv1.weight"][0] = torch.nan
    torch.save(weights, tmp_path / "diverged.pth")
    with pytest.raises(UserError, match=r"in 1 tensors, first layer1\.0\.conv1\.weight"):
        import_backbone(tmp_path / "diverged.pth", SMALL)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone": "resnet18"}, "the starting point is a resnet10t, the network a resnet18"),
        ({"in_channels": 5}, r"with 5 channels: 1 of another shape, first conv1\.0\.weight"),
    ],
)
def test_a_network_that_it_does_not_fit(weights_file: Path, changes: dict[str, object], said: str) -> None:
    network = CnnLstm(SPEC.model_copy(update=changes))
    with pytest.raises(UserError, match=said):
        start_from(network, import_backbone(weights_file, SMALL))


def test_what_is_no_starting_point(weights_file: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("none")
    for path, said in (
        (weights_file, "does not say that it is a starting point"),
        (tmp_path / "text", "no whole safetensors file"),
        (tmp_path / "absent", "not a file that exists"),
    ):
        with pytest.raises(UserError, match=f"{said}.*--format timm"):
            load_starting_point(path)
