"""The CUDA engine on the CPU: heads with weights of their own, and the trial that it must pass before it reads."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from structlog.testing import capture_logs

from ichd.domain.errors import UserError
from ichd.vision.bundle import Bundle, load_bundle, save_bundle
from ichd.vision.engines.choice import EngineChoice, EngineWish, open_graph
from ichd.vision.engines.cuda import CudaEngine
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.engines.engine import Part
from ichd.vision.engines.trial import fault_of
from ichd.vision.manifest import Calibration, InputSpec, NetworkSpec, RecurrentSpec
from ichd.vision.network import CnnLstm
from tests.vision.images import embed_slices
from tests.vision.test_bundle import manifest

CPU = torch.device("cpu")
ROWS = 2


def bundle_of(folder: Path, backbone: str, side: int, loud: float | None = None) -> Bundle:
    """Random weights; `loud` is the gain of the first norm, which the next one takes back."""
    torch.manual_seed(3)
    described = manifest(
        network=NetworkSpec(backbone=backbone, recurrent=RecurrentSpec(layers=1, hidden=8)),
        input=InputSpec(image_size=side),
    )
    network = CnnLstm(described.network)
    torch.nn.init.normal_(network.decoder.fc.weight)
    if loud is not None:
        norm = next(module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d))
        torch.nn.init.constant_(norm.weight, loud)
    save_bundle(folder, described, network.state_dict())
    return load_bundle(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_of(tmp_path_factory.mktemp("small"), "resnet10t", 32)


def graph(bundle: Bundle, precision: str) -> CudaEngine:
    return CudaEngine(bundle, device=CPU, precision=precision, at_once=ROWS)


@pytest.mark.parametrize(
    ("backbone", "side", "precision"),
    [("mobilenetv3_small_050", 64, "fp16"), ("convnext_atto", 64, "bf16"), ("vit_tiny_patch16_224", 224, "bf16")],
)
def test_a_head_with_weights_stays_in_fp32(tmp_path: Path, backbone: str, side: int, precision: str) -> None:
    bundle = bundle_of(tmp_path, backbone, side)
    hu = np.random.default_rng(1).integers(-50, 150, (1, side, side)).astype(np.int16)
    said, expected = (
        engine.classify(embed_slices(engine, hu, (0.5, 0.5)))
        for engine in (graph(bundle, precision), EagerEngine(bundle))
    )
    assert np.abs(said - expected).max() <= 1e-2
    assert all(tensor.dtype == torch.float32 for tensor in bundle.state_dict.values() if tensor.is_floating_point())


def test_an_engine_that_mixes_up_its_rows_fails(small: Bundle) -> None:
    class Leaking(CudaEngine):
        def embed(self, parts: Sequence[Part]) -> list[NDArray[np.float32]]:
            (embeddings,) = super().embed(parts)
            embeddings[1::ROWS] = np.nextafter(embeddings[1::ROWS], np.float32(np.inf))
            return [embeddings]

    reference = EagerEngine(small, device="cpu")
    leaking = Leaking(small, device=CPU, precision="fp32", at_once=ROWS)
    assert fault_of(graph(small, "fp32"), reference, rows=ROWS, precision="fp32") is None
    assert (
        fault_of(leaking, reference, rows=ROWS, precision="fp32") == "a slice has other bits in row 1 of 2 than alone"
    )


def test_an_engine_that_says_something_else_fails(small: Bundle) -> None:
    other = Bundle(
        folder=small.folder,
        manifest=small.manifest.model_copy(update={"calibration": {"any": Calibration(scale=1.0, bias=0.5)}}),
        state_dict=small.state_dict,
    )
    fault = fault_of(graph(small, "bf16"), EagerEngine(other, device="cpu"), rows=ROWS, precision="bf16")
    assert fault is not None
    assert fault.endswith("and may by 0.01")


def test_auto_falls_back_to_torch_where_the_graph_fails_and_a_wish_for_it_is_refused(tmp_path: Path) -> None:
    """Activations that leave the range of fp16: no number comes out."""
    bundle = bundle_of(tmp_path, "resnet10t", 32, loud=1e6)
    choice = EngineChoice(engine="cuda", device="cpu", precision="fp16")
    with capture_logs() as logs:
        engine = open_graph(bundle, choice, EngineWish())
    assert engine.name == "torch-cpu-fp32"
    assert [log["event"] for log in logs] == ["engine_refused"]
    for wish in (EngineWish(engine="cuda"), EngineWish(precision="fp16")):
        with pytest.raises(UserError, match=r"no number.*model\.engine = \"torch\""):
            open_graph(bundle, choice, wish)


def test_a_graph_that_passes_is_opened(small: Bundle) -> None:
    choice = EngineChoice(engine="cuda", device="cpu", precision="bf16")
    assert open_graph(small, choice, EngineWish()).name == "cudagraph-cpu-bf16"
