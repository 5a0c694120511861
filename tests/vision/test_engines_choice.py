"""What the settings may ask of an engine, and what they get on a machine without a GPU."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from ichd.domain.errors import UserError
from ichd.vision.bundle import demo_bundle, load_bundle
from ichd.vision.engines import choice
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.choice import EngineChoice, EngineWish, choose_engine, open_engine
from ichd.vision.engines.openvino import precisions

BEST = precisions()[0]
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the table is that of a machine without a GPU")


@pytest.mark.parametrize(
    ("wish", "engine", "precision"),
    [
        (EngineWish(), "openvino", BEST),
        (EngineWish(device="cpu"), "openvino", BEST),
        (EngineWish(engine="openvino"), "openvino", BEST),
        (EngineWish(precision="fp32"), "openvino", "fp32"),
        (EngineWish(engine="torch"), "torch", "fp32"),
        (EngineWish(engine="torch", precision="fp32", threads=1), "torch", "fp32"),
    ],
)
def test_the_quickest_engine_that_grants_the_wish(wish: EngineWish, engine: str, precision: str) -> None:
    assert choose_engine(wish) == EngineChoice(engine=engine, device="cpu", precision=precision)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (EngineWish(engine="cuda"), r"model\.engine = 'cuda'.*openvino on cpu.*torch on cpu in fp32"),
        (EngineWish(engine="torch", precision="bf16"), r"precision = 'bf16'"),
        (EngineWish(precision="fp16"), r"precision = 'fp16'"),
        (EngineWish(device="cuda"), r"model\.device.*0 GPUs"),
    ],
)
def test_a_wish_that_nobody_grants_is_answered_by_what_there_is(wish: EngineWish, words: str) -> None:
    with pytest.raises(UserError, match=words):
        choose_engine(wish)


def test_without_openvino_torch_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None if name == "openvino" else find_spec(name))
    assert choose_engine(EngineWish()) == EngineChoice(engine="torch", device="cpu", precision="fp32")
    with pytest.raises(UserError, match="there are: torch on cpu in fp32"):
        choose_engine(EngineWish(engine="openvino"))


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_the_engine_that_was_chosen_is_opened(engine: str, tmp_path: Path) -> None:
    wish = EngineWish(engine=engine, precision=choose_engine(EngineWish(engine=engine)).precision)
    opened = open_engine(load_bundle(demo_bundle()), wish, EngineCache(tmp_path))
    assert opened.name == f"{engine}-cpu-{wish.precision}"


def test_a_bundle_that_needs_fp32_gets_it_where_the_wish_leaves_that_open(tmp_path: Path) -> None:
    demo = load_bundle(demo_bundle())
    assert demo.manifest.least_precision == "fp32"
    assert open_engine(demo, EngineWish(), EngineCache(tmp_path)).name == "openvino-cpu-fp32"
    assert choose_engine(EngineWish(), least_precision="fp32").precision == "fp32"
    assert choose_engine(EngineWish(precision=BEST), least_precision="fp32").precision == BEST


def test_openvino_reports_to_nobody() -> None:
    """Its statistics would go out with the import; a process of its own, because this one has imported it.

    The module that imports it before any engine does: whatever guards that one guards all.
    """
    script = (
        "import ichd.vision.onnx_graph\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "print(telemetry_utils.tm.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
