"""The network is the paper's: parameters, parity with a plain transcription, padding, families."""

import pytest
import torch
from torch import Tensor, nn

from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason
from ichd.vision.manifest import NetworkSpec, RecurrentSpec
from ichd.vision.network import CnnLstm

from .published import PublishedModel, Stem

SMALL = NetworkSpec(backbone="resnet10t", recurrent=RecurrentSpec(layers=1, hidden=8))


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [("resnet50", 40.31), ("seresnext50_32x4d", 42.31), ("legacy_seresnext50_32x4d", 42.31)],
)
def test_parameter_counts_are_the_papers(backbone: str, millions: float) -> None:
    with torch.device("meta"):
        network = CnnLstm(NetworkSpec(backbone=backbone))
    assert round(parameters(network) / 1e6, 2) == millions
    assert parameters(network.decoder) == 16_799_750


@pytest.mark.parametrize(
    ("backbone", "groups", "squeeze", "stem"),
    [
        ("resnet50", 1, False, "padded"),
        ("legacy_seresnext50_32x4d", 32, True, "ceil"),
        ("seresnext50_32x4d", 32, True, "padded"),
    ],
)
def test_logits_equal_a_plain_transcription_of_the_paper(backbone: str, groups: int, squeeze: bool, stem: Stem) -> None:
    torch.manual_seed(5)
    published = PublishedModel(groups=groups, squeeze=squeeze, stem=stem).eval()
    scatter_norms(published)
    network = CnnLstm(NetworkSpec(backbone=backbone)).eval()
    network.load_state_dict({our_key(key, backbone): value for key, value in published.state_dict().items()})
    windows = torch.randn(4, 3, 96, 96)
    with torch.inference_mode():
        expected, actual = published(windows), network(windows)
    assert expected.std() > 1e-2, "logits that hardly differ would agree by themselves"
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def scatter_norms(model: nn.Module) -> None:
    """Norms of their own, and a last layer wide enough, so that a swapped or skipped one is seen in the logits."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.4, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight)


def our_key(key: str, backbone: str) -> str:
    if key.startswith("decoder."):
        return key
    if backbone != "legacy_seresnext50_32x4d":
        key = key.removeprefix("layer0.").replace("se_module.", "se.")
    return f"backbone.{key}"


def test_the_head_starts_unbiased() -> None:
    assert not CnnLstm(SMALL).decoder.fc.bias.any()


def test_two_steps_equal_one_and_features_pool_to_embeddings() -> None:
    network = CnnLstm(SMALL).eval()
    windows = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        maps = network.features(windows)
        assert maps.shape == (3, 512, 2, 2)
        torch.testing.assert_close(network.pool(maps), network.embed(windows))
        torch.testing.assert_close(network.embed(windows), maps.mean(dim=(2, 3)))
        torch.testing.assert_close(network.classify(network.embed(windows)), network(windows))


@pytest.mark.parametrize("bidirectional", [True, False])
def test_padding_never_reaches_a_scans_own_slices(bidirectional: bool) -> None:
    spec = SMALL.model_copy(update={"recurrent": RecurrentSpec(layers=2, hidden=8, bidirectional=bidirectional)})
    network = CnnLstm(spec).eval()
    lengths = [5, 1, 3]
    padded = torch.full((3, 5, network.features_out), 1e3)
    scans = [torch.randn(n, network.features_out) for n in lengths]
    for row, scan in zip(padded, scans, strict=True):
        row[: len(scan)] = scan
    with torch.inference_mode():
        logits = network.classify(padded, torch.tensor(lengths))
        assert logits.shape == (3, 5, 6)
        for row, scan in zip(logits, scans, strict=True):
            torch.testing.assert_close(row[: len(scan)], network.classify(scan))


def test_neighbours_matter_with_the_lstm_and_not_in_the_2d_form() -> None:
    def change_of_first_slice(spec: NetworkSpec) -> Tensor:
        torch.manual_seed(0)
        network = CnnLstm(spec).eval()
        embeddings = torch.randn(4, network.features_out)
        other = embeddings.clone()
        other[3] += 10
        with torch.inference_mode():
            return (network.classify(embeddings)[0] - network.classify(other)[0]).abs().max()

    assert change_of_first_slice(SMALL) > 1e-6
    assert change_of_first_slice(SMALL.model_copy(update={"recurrent": None})) == 0


@pytest.mark.parametrize(
    ("backbone", "pool", "width"),
    [
        ("resnet10t", "avg", 512),
        ("resnet10t", "max", 512),
        ("resnet10t", "catavgmax", 1024),
        ("mobilenetv3_small_050", "avg", 1024),  # its head convolves after pooling
        ("efficientnet_b0", "catavgmax", 2560),
        ("convnext_atto", "avg", 320),
    ],
)
def test_any_timm_backbone_tells_its_width(backbone: str, pool: str, width: int) -> None:
    spec = NetworkSpec(backbone=backbone, global_pool=pool, recurrent=RecurrentSpec(layers=1, hidden=4))
    network = CnnLstm(spec).eval()
    assert network.features_out == width
    with torch.inference_mode():
        assert network(torch.randn(2, 3, 64, 64)).shape == (2, 6)


@pytest.mark.parametrize(
    "spec", [NetworkSpec(backbone="resnet_fifty"), NetworkSpec(backbone="convnext_atto", global_pool="catavgmax")]
)
def test_an_impossible_backbone_is_a_coded_error(spec: NetworkSpec) -> None:
    with pytest.raises(Permanent, match=spec.backbone) as caught:
        CnnLstm(spec)
    assert caught.value.reason is Reason.MODEL_UNUSABLE
