"""Bundles: the same model back, the same bytes again, and a sentence for everything that can be wrong."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ichd.domain.errors import Permanent, UserError
from ichd.domain.finding import CLASSES, Threshold
from ichd.domain.reason import Reason
from ichd.vision.bundle import demo_bundle, find_bundle, list_bundles, load_bundle, save_bundle
from ichd.vision.manifest import InputSpec, Manifest, NetworkSpec, RecurrentSpec, ThresholdSpec, WeightsSpec
from ichd.vision.network import CnnLstm


def manifest(**changes: Any) -> Manifest:
    given: dict[str, Any] = {
        "name": "tiny",
        "version": "1",
        "network": NetworkSpec(backbone="resnet10t", recurrent=RecurrentSpec(layers=1, hidden=8)),
        "input": InputSpec(image_size=64),
        "intended_use": "tests",
        "training_data": "none",
        "licence": "Apache-2.0",
    }
    return Manifest(**(given | changes))


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    torch.manual_seed(3)
    return CnnLstm(manifest().network).state_dict()


@pytest.fixture
def saved(tmp_path: Path, weights: dict[str, Tensor]) -> Path:
    save_bundle(tmp_path / "tiny", manifest(), weights)
    return tmp_path / "tiny"


@pytest.mark.parametrize(("storage", "tolerance"), [("fp32", 0.0), ("fp16", 1e-3), ("int8", 1.0 / 127)])
def test_weights_come_back(tmp_path: Path, weights: dict[str, Tensor], storage: Any, tolerance: float) -> None:
    written = save_bundle(tmp_path, manifest(weights=WeightsSpec(storage=storage)), weights)
    bundle = load_bundle(tmp_path)
    assert bundle.manifest == written
    assert bundle.identity.weights_sha256 == written.weights.sha256
    for key, expected in weights.items():
        actual = bundle.state_dict[key]
        assert actual.dtype == expected.dtype
        assert (actual - expected).abs().max() <= tolerance * expected.abs().max()
        if expected.ndim < 2:
            assert torch.equal(actual, expected), "vectors keep all their bits"


def test_storage_shrinks_and_the_network_still_says_the_same(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    sizes, logits = {}, {}
    windows = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for storage in ("fp32", "fp16", "int8"):
        save_bundle(tmp_path / storage, manifest(weights=WeightsSpec.model_validate({"storage": storage})), weights)
        sizes[storage] = (tmp_path / storage / "weights.safetensors").stat().st_size
        with torch.inference_mode():
            logits[storage] = load_bundle(tmp_path / storage).network()(windows)
    assert sizes["fp16"] < 0.52 * sizes["fp32"]
    assert sizes["int8"] < 0.28 * sizes["fp32"]
    torch.testing.assert_close(logits["fp16"], logits["fp32"], atol=1e-3, rtol=0)
    torch.testing.assert_close(logits["int8"], logits["fp32"], atol=2e-2, rtol=0)


@pytest.mark.parametrize("storage", ["fp32", "fp16", "int8"])
def test_the_same_model_gives_the_same_bytes(tmp_path: Path, weights: dict[str, Tensor], storage: Any) -> None:
    spec = manifest(weights=WeightsSpec(storage=storage))
    save_bundle(tmp_path / "a", spec, weights)
    save_bundle(tmp_path / "b", spec, dict(reversed(weights.items())))
    for name in ("model.json", "weights.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_network_from_a_bundle_is_ready_to_read(saved: Path) -> None:
    network = load_bundle(saved).network()
    assert not network.training
    assert not any(p.requires_grad or p.is_meta for p in network.parameters())


def test_thresholds_become_the_reading_rule() -> None:
    rule = manifest(thresholds={"any": ThresholdSpec(present_from=0.7, absent_below=0.2)}, max_key_slices=5).rule
    assert rule.thresholds["any"] == Threshold(present_from=0.7, absent_below=0.2)
    assert rule.max_key_slices == 5


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def unusable(folder: Path) -> str:
    with pytest.raises(Permanent) as caught:
        load_bundle(folder).network()
    assert caught.value.reason is Reason.MODEL_UNUSABLE
    return caught.value.detail


def test_changed_weights_are_noticed(saved: Path) -> None:
    path = saved / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "copy the whole bundle again" in unusable(saved)


def test_missing_weights(saved: Path) -> None:
    (saved / "weights.safetensors").unlink()
    assert "is missing; copy" in unusable(saved)


def test_no_bundle_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape("model.json")):
        load_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"flavour": "mint"}, "flavour"),
        ({"classes": [*CLASSES[:5], "stroke"]}, "classes"),
        ({"classes": ["any", *CLASSES[:5]]}, "classes"),
        ({"calibration": {"any": {"scale": -1.0, "bias": 0.0}}}, "calibration.any.scale"),
        ({"calibration": {"stroke": {"scale": 1.0, "bias": 0.0}}}, "stroke"),
        ({"thresholds": {"any": {"present_from": 0.2, "absent_below": 0.4}}}, "absent_below"),
        ({"thresholds": {"any": {"present_from": 1.5, "absent_below": 0.4}}}, "present_from"),
        ({"architecture": "cnn"}, "architecture"),
        ({"format_version": 2}, "format_version"),
        ({"demonstration": "yes"}, "demonstration"),
        ({"licence": ""}, "licence"),
        (
            {"input": {"image_size": 64, "windows": [{"name": "brain", "level": 40, "width": 80, "colour": 1}]}},
            "windows.0.colour",
        ),
        (
            {"input": {"image_size": 64, "windows": [{"name": "brain", "level": 40, "width": 80}]}},
            "one entry a channel",
        ),
    ],
)
def test_a_manifest_that_cant_be_followed_names_the_place(saved: Path, changes: dict[str, Any], said: str) -> None:
    change_manifest(saved, **changes)
    assert said in unusable(saved)


def test_a_manifest_that_is_no_json(saved: Path) -> None:
    (saved / "model.json").write_text("{")
    assert "the file" in unusable(saved)


def test_unknown_backbone(saved: Path) -> None:
    network = json.loads((saved / "model.json").read_text())["network"]
    change_manifest(saved, network=network | {"backbone": "resnet_fifty"})
    assert "resnet_fifty" in unusable(saved)


def test_weights_of_another_network(saved: Path) -> None:
    network = json.loads((saved / "model.json").read_text())["network"]
    change_manifest(saved, network=network | {"recurrent": network["recurrent"] | {"hidden": 16}})
    assert re.search(r"of another shape, first decoder\.fc\.weight is \(6, 16\), not \(6, 32\)", unusable(saved))


def test_saving_weights_of_another_network_writes_nothing(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    fewer = {key: value for key, value in weights.items() if key != "decoder.fc.bias"}
    with pytest.raises(Permanent, match=re.escape("1 missing, first decoder.fc.bias")):
        save_bundle(tmp_path / "bad", manifest(), fewer)
    assert not (tmp_path / "bad").exists()


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    broken = weights | {"decoder.fc.weight": torch.full((6, 16), float("nan"))}
    with pytest.raises(Permanent, match="not finite"):
        save_bundle(tmp_path, manifest(), broken)


def test_bundles_are_found_by_path_and_shipped_ones_by_name(saved: Path) -> None:
    assert find_bundle(str(saved)) == saved
    for folder in list_bundles():
        assert find_bundle(folder.name) == folder
    with pytest.raises(UserError, match="neither a shipped model"):
        find_bundle("no-such-model")


@pytest.mark.skipif(demo_bundle() not in list_bundles(), reason="the demonstration model is not built yet")
def test_the_shipped_demonstration_model_says_what_it_is() -> None:
    bundle = load_bundle(demo_bundle())
    assert bundle.identity.demonstration
    assert "demonstration only" in bundle.identity.statement
    assert sum(f.stat().st_size for f in demo_bundle().iterdir()) <= 12_000_000
    bundle.network()
