"""A bundle as ONNX: the same probabilities as the engine's, for any number of slices, and it says what it is."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from ichd.domain.finding import CLASSES
from ichd.vision.bundle import Bundle, load_bundle, save_bundle
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.manifest import Calibration, InputSpec, Manifest, NetworkSpec, RecurrentSpec
from ichd.vision.network import CnnLstm
from ichd.vision.onnx_graph import compare_runtimes, write_onnx
from tests.vision.images import embed_slices

#: Another order than the package's, so that the graph has to bring it back.
ORDER = ("any", *reversed(CLASSES[1:]))


def bundle_of(folder: Path, recurrent: RecurrentSpec | None, quantise_bits: int | None) -> Bundle:
    torch.manual_seed(8)
    network = NetworkSpec(backbone="resnet10t", recurrent=recurrent)
    manifest = Manifest.model_validate(
        {
            "name": "tiny",
            "version": "1",
            "architecture": network.architecture,
            "network": network,
            "input": InputSpec.model_validate({"image_size": 64, "quantise_bits": quantise_bits}),
            "classes": ORDER,
            "calibration": {"epidural": Calibration(scale=2.0, bias=-1.0)},
            "intended_use": "tests",
            "training_data": "none",
            "licence": "Apache-2.0",
        }
    )
    weights = CnnLstm(network)
    torch.nn.init.normal_(weights.decoder.fc.weight, std=0.5)
    save_bundle(folder, manifest, weights.state_dict())
    return load_bundle(folder)


def scan(slices: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return np.random.default_rng(slices).integers(-1024, 1500, (slices, 64, 64)).astype(np.int16)


@pytest.mark.parametrize(
    ("recurrent", "quantise_bits"),
    [
        (RecurrentSpec(layers=2, hidden=8), None),
        (RecurrentSpec(layers=1, hidden=8, bidirectional=False), 8),
        (None, None),
    ],
)
def test_the_graph_says_what_the_engine_says(
    tmp_path: Path, recurrent: RecurrentSpec | None, quantise_bits: int | None
) -> None:
    bundle = bundle_of(tmp_path / "tiny", recurrent, quantise_bits)
    write_onnx(bundle, tmp_path / "tiny.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "tiny.onnx", providers=["CPUExecutionProvider"])
    engine = EagerEngine(bundle, device="cpu")
    for slices in (1, 2, 9):
        expected = engine.classify(embed_slices(engine, scan(slices), (0.5, 0.5)))
        (actual,) = session.run(None, {"hu": scan(slices).astype(np.float32)})
        assert expected.std() > 1e-2, "probabilities that hardly differ would agree by themselves"
        np.testing.assert_allclose(actual, expected, atol=1e-4, rtol=0)


def test_every_runtime_at_hand_agrees(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "tiny", RecurrentSpec(layers=1, hidden=8), 8)
    write_onnx(bundle, tmp_path / "tiny.onnx")
    differences = compare_runtimes(bundle, tmp_path / "tiny.onnx", [scan(n).astype(np.float32) for n in (1, 3)])
    assert set(differences) == {"onnxruntime", "openvino"}
    assert max(differences.values()) < 1e-4


def test_another_models_graph_is_noticed(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "tiny", RecurrentSpec(layers=1, hidden=8), None)
    write_onnx(bundle_of(tmp_path / "other", None, None), tmp_path / "other.onnx")
    differences = compare_runtimes(bundle, tmp_path / "other.onnx", [scan(3).astype(np.float32)])
    assert min(differences.values()) > 1e-3


def test_it_says_what_it_is(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "tiny", RecurrentSpec(layers=1, hidden=8), None)
    write_onnx(bundle, tmp_path / "tiny.onnx")
    model = onnx.load(tmp_path / "tiny.onnx")
    onnx.checker.check_model(model, full_check=True)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["weights_sha256"] == bundle.identity.weights_sha256
    assert json.loads(said["classes"]) == list(CLASSES)
    assert Manifest.model_validate_json(said["manifest"]) == bundle.manifest
    assert "float32 [slices, 64, 64]" in said["input"]
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert (shape[0].dim_param, shape[1].dim_value, shape[2].dim_value) == ("slices", 64, 64)
