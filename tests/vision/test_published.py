"""Published checkpoints become bundles that say the same; whatever else comes along is refused with the mend."""

import pickle
import random
import warnings
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.bundle import load_bundle, save_bundle
from ichd.vision.manifest import IMAGENET_MEAN, InputSpec
from ichd.vision.preprocess import normalise
from ichd.vision.published import PublishedWeights, published_manifest, read_published
from ichd.vision.window import PAPER_WINDOWS

from .published import PublishedModel
from .test_network import scatter_norms

ORDER = ("brain", "subdural", "bone")


def published_model(backbone: str) -> PublishedModel:
    torch.manual_seed(11)
    model = (
        PublishedModel(groups=1, squeeze=False, stem="padded")
        if backbone == "resnet50"
        else PublishedModel(groups=32, squeeze=True, stem="ceil")
    )
    scatter_norms(model)
    return model.eval()


def checkpoint_of(model: nn.Module, arch: str) -> dict[str, Any]:
    """The dict that the authors' code saves; the optimiser has stepped once, so that its state holds tensors."""
    optimiser = torch.optim.AdamW([next(model.parameters())], lr=1e-3, eps=1e-3)
    next(model.parameters()).grad = torch.zeros_like(next(model.parameters()))
    optimiser.step()
    return {
        "epoch": 30,
        "arch": arch,
        "state_dict": model.state_dict(),
        "best_metric": torch.tensor(0.0637, dtype=torch.float64),
        "optimizer": optimiser.state_dict(),
    }


class SlicesAlone(nn.Module):
    """The 2D form: the same CNN, and `fc` where the decoder was."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        for name, module in published_model(backbone).named_children():
            if name != "decoder":
                self.add_module(name, module)
        self.fc = nn.Linear(2048, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.get_submodule("stem_pool")(torch.relu(self.get_submodule("layer0")(x)))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "resnet50.pth"
    torch.save(checkpoint_of(published_model("resnet50"), "resnet50"), path)
    return path


def imported(weights: PublishedWeights, folder: Path) -> Callable[[Tensor], Tensor]:
    """The network of a bundle that an import wrote."""
    save_bundle(folder, published_manifest(weights, channel_order=ORDER, name="imported"), weights.state_dict)
    return load_bundle(folder).network()


@pytest.mark.parametrize(("backbone", "millions"), [("resnet50", 40.31), ("seresnext50", 42.31)])
def test_an_imported_network_says_what_the_published_one_says(tmp_path: Path, backbone: str, millions: float) -> None:
    published = published_model(backbone)
    torch.save(checkpoint_of(published, backbone), tmp_path / "best.pth")
    weights = read_published(tmp_path / "best.pth")
    total, decoder = weights.parameters
    assert round(total / 1e6, 2) == millions
    assert decoder == 16_799_750
    network = imported(weights, tmp_path / "bundle")
    windows = torch.randn(4, 3, 128, 128)
    with torch.inference_mode():
        expected = published(windows)
        assert expected.std() > 1e-2, "logits that hardly differ would agree by themselves"
        torch.testing.assert_close(network(windows), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("backbone", ["resnet50", "seresnext50"])
def test_the_2d_form_is_imported_too(tmp_path: Path, backbone: str) -> None:
    published = SlicesAlone(backbone).eval()
    torch.save({"state_dict": published.state_dict(), "arch": backbone}, tmp_path / "2d.pth")
    weights = read_published(tmp_path / "2d.pth")
    manifest = published_manifest(weights, channel_order=ORDER, name="flat")
    assert manifest.architecture == "cnn"
    windows = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        torch.testing.assert_close(imported(weights, tmp_path / "flat")(windows), published(windows), atol=1e-4, rtol=0)


@pytest.mark.parametrize("order", list(permutations(ORDER)))
def test_the_manifest_states_the_channel_order(resnet: Path, order: tuple[str, ...]) -> None:
    manifest = published_manifest(read_published(resnet), channel_order=order, name="imported")
    assert tuple(window.name for window in manifest.input.windows) == order
    assert manifest.input.mean == IMAGENET_MEAN
    assert manifest.classes == CLASSES
    assert manifest.metrics["checkpoint"] == {
        "sha256": read_published(resnet).origin["sha256"],
        "arch": "resnet50",
        "epoch": 30,
        "best_metric": 0.0637,
    }
    assert "non-commercial" in manifest.licence


@pytest.mark.parametrize("order", [("brain", "subdural"), ("brain", "brain", "bone"), ("brain", "subdural", "stroke")])
def test_what_is_no_order_of_the_windows_is_refused(resnet: Path, order: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="brain, subdural, bone once each"):
        published_manifest(read_published(resnet), channel_order=order, name="imported")


def test_the_input_is_the_bytes_that_the_weights_learnt_from() -> None:
    """Every whole HU of every window, in the arithmetic that made the training images: a double, then a byte."""
    hu = np.arange(-1024, 3072)
    spec = InputSpec(image_size=64, quantise_bits=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    result = normalise(torch.from_numpy(hu).float().reshape(1, 64, 64), spec)[0].reshape(3, -1)
    for channel, window in zip(result, PAPER_WINDOWS, strict=True):
        low, high = window.level - window.width // 2, window.level + window.width // 2
        as_bytes = (255 * ((np.clip(hu, low, high) - low) / window.width)).astype(np.uint8)
        np.testing.assert_array_equal((channel * 255).round().numpy(), as_bytes)


def prefixed(state: dict[str, Any]) -> None:
    state["state_dict"] = {f"module.{key}": value for key, value in state["state_dict"].items()}


def without_optimiser(state: dict[str, Any]) -> None:
    del state["optimizer"]


def without_counters(state: dict[str, Any]) -> None:
    kept = state["state_dict"].items()
    state["state_dict"] = {key: value for key, value in kept if not key.endswith("num_batches_tracked")}


@pytest.mark.parametrize("variation", [prefixed, without_optimiser, without_counters])
def test_harmless_variations_are_read(
    resnet: Path, tmp_path: Path, variation: Callable[[dict[str, Any]], None]
) -> None:
    state = torch.load(resnet, weights_only=True)
    variation(state)
    torch.save(state, tmp_path / "varied.pth")
    assert_same_weights(read_published(tmp_path / "varied.pth"), read_published(resnet))


def test_the_form_of_files_of_2019_and_bare_safetensors_are_read(resnet: Path, tmp_path: Path) -> None:
    state = torch.load(resnet, weights_only=True)
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state["state_dict"], tmp_path / "bare.safetensors")
    for name in ("old.pth", "bare.safetensors"):
        assert_same_weights(read_published(tmp_path / name), read_published(resnet))


def assert_same_weights(one: PublishedWeights, other: PublishedWeights) -> None:
    assert one.network == other.network
    assert one.state_dict.keys() == other.state_dict.keys()
    assert all(torch.equal(value, other.state_dict[key]) for key, value in one.state_dict.items())


def lacking(state: dict[str, Any]) -> None:
    del state["state_dict"]["layer2.0.conv1.weight"]


def surplus(state: dict[str, Any]) -> None:
    state["state_dict"]["decoder.attention.weight"] = torch.zeros(2)


def narrower(state: dict[str, Any]) -> None:
    state["state_dict"]["decoder.fc.weight"] = torch.zeros(5, 1024)


def as_timm_names_it(state: dict[str, Any]) -> None:
    state["state_dict"] = {key.removeprefix("layer0."): value for key, value in state["state_dict"].items()}


def without_weights(state: dict[str, Any]) -> None:
    state["state_dict"] = {}


@pytest.mark.parametrize(
    ("variation", "said"),
    [
        (lacking, r"1 missing, first layer2\.0\.conv1\.weight"),
        (surplus, r"1 unknown, first decoder\.attention\.weight"),
        (narrower, r"decoder\.fc\.weight is \(5, 1024\), not \(6, 1024\)"),
        (as_timm_names_it, r"has no layer0.*--format timm"),
        (without_weights, "no tensors by name"),
    ],
)
def test_another_layout_names_what_differs(
    resnet: Path, tmp_path: Path, variation: Callable[[dict[str, Any]], None], said: str
) -> None:
    state = torch.load(resnet, weights_only=True)
    variation(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(UserError, match=said):
        read_published(tmp_path / "other.pth")


def test_the_wrong_backbone_is_refused(resnet: Path) -> None:
    with pytest.raises(UserError, match=r"not the published CNN-LSTM with seresnext50.*missing.*name the backbone"):
        read_published(resnet, backbone="seresnext50")


class Payload:
    """Would make a folder while it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.mkdir, (self.folder,))


def test_code_in_a_checkpoint_never_runs(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "arch": Payload(tmp_path / "ran")}, tmp_path / "evil.pth")
    for protocol in (2, 4):
        (tmp_path / f"plain{protocol}.pth").write_bytes(pickle.dumps(Payload(tmp_path / "ran"), protocol=protocol))
    for name in ("evil.pth", "plain2.pth", "plain4.pth"):
        # torch warns of the newer protocol; the sentence is enough.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UserError, match="run code to be read"):
                read_published(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("text.pth", b"no checkpoint at all\n", "torch.save"),
        ("empty.pth", b"", "torch.save"),
        ("list.pth", pickle.dumps([1, 2], protocol=2), "torch.save"),
        ("text.safetensors", b"no safetensors", "copy it again"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_published(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a file that exists"):
        read_published(tmp_path / "absent.pth")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_damage_anywhere_is_a_sentence(tmp_path: Path, zipped: bool) -> None:
    """Cut and changed files of a few tensors, from a fixed seed: whatever breaks in the reader, it is a sentence."""
    state = {"state_dict": {"layer0.conv1.weight": torch.zeros(4, 4), "fc.bias": torch.zeros(6)}, "epoch": 3}
    torch.save(state, tmp_path / "whole.pth", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "whole.pth").read_bytes()
    draw = random.Random(3)
    for _ in range(120):
        damaged = bytearray(whole[: draw.randrange(1, len(whole))] if draw.random() < 0.3 else whole)
        for _ in range(draw.randrange(1, 5)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        (tmp_path / "damaged.pth").write_bytes(damaged)
        with pytest.raises(UserError):
            read_published(tmp_path / "damaged.pth")
