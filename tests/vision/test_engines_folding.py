"""Folding changes what a network costs, never what it says."""

import pytest
import torch

from ichd.vision.engines.folding import folded
from ichd.vision.manifest import NetworkSpec
from ichd.vision.network import CnnLstm


class Features(torch.nn.Module):
    def __init__(self, network: CnnLstm) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        return self.network.features(x_NCHW)


@pytest.mark.parametrize(
    ("backbone", "norms_left"),
    [("resnet10t", 0), ("regnetx_002", 0), ("seresnext50_32x4d", 0), ("resnetv2_18d", 9)],
)
def test_a_folded_network_says_the_same(backbone: str, norms_left: int) -> None:
    """Norms before their convolution, as in ResNet V2, stay: what they norm has other readers."""
    torch.manual_seed(5)
    network = CnnLstm(NetworkSpec(backbone=backbone)).eval().requires_grad_(False)
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            for values, low, high in ((norm.running_mean, -1, 1), (norm.running_var, 0.5, 2), (norm.weight, 0.5, 1.5)):
                assert values is not None
                values.uniform_(low, high)
    x_NCHW = torch.randn(2, 3, 64, 64)
    expected = network.features(x_NCHW)
    module = folded(Features(network), x_NCHW)
    with torch.no_grad():
        actual = module(x_NCHW)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert torch.equal(network.features(x_NCHW), expected), "the network is left as it is"
    weights = sum(tensor.numel() for tensor in module.state_dict().values())
    assert weights <= sum(tensor.numel() for tensor in network.backbone.state_dict().values()), "and no weight twice"
    norms = [node for node in module.graph.nodes if node.target is torch.ops.aten.batch_norm.default]
    assert len(norms) == norms_left
