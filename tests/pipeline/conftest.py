"""A bundle whose weights mean nothing: the pipeline is under test, on both databases (`tests/databases.py`)."""

from pathlib import Path

import pytest
import torch

from ichd.vision.bundle import load_bundle, save_bundle
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.manifest import InputSpec, Manifest, NetworkSpec, RecurrentSpec, WeightsSpec
from ichd.vision.network import CnnLstm
from ichd.vision.reader import Reader


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return untrained(tmp_path_factory.mktemp("bundle"), field_of_view_mm=240.0)


def untrained(folder: Path, *, field_of_view_mm: float | None) -> Reader:
    """A reader of a small network with random weights; without a field of view it sees slices alone."""
    torch.manual_seed(0)
    network = NetworkSpec(backbone="resnet10t", global_pool="avg", recurrent=RecurrentSpec(layers=1, hidden=8))
    manifest = Manifest(
        name="untrained",
        version="1",
        architecture="cnn-lstm",
        network=network,
        input=InputSpec(image_size=64, field_of_view_mm=field_of_view_mm),
        calibration={},
        thresholds={},
        intended_use="tests",
        training_data="none",
        licence="Apache-2.0",
        metrics={},
        statement="untrained",
        demonstration=True,
        weights=WeightsSpec(storage="fp16"),
    )
    save_bundle(folder, manifest, CnnLstm(network).state_dict())
    return Reader(EagerEngine(load_bundle(folder), device="cpu", threads=1))
