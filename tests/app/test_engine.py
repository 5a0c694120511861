"""The engine of the settings: what doctor says about it, and what a worker gets."""

from pathlib import Path

import pytest

from ichd.app.engine import describe_engine, load_reader
from ichd.domain.errors import UserError
from ichd.settings import ModelSettings


def test_doctor_knows_whether_the_next_start_is_quick(tmp_path: Path) -> None:
    model = ModelSettings(engine="openvino", precision="fp32", cache=str(tmp_path / "cache"))
    assert describe_engine(model) == "openvino on cpu in fp32, the first start converts the model, some seconds"
    assert not (tmp_path / "cache").exists(), "a question changes nothing"
    assert load_reader(model).engine.name == "openvino-cpu-fp32"
    assert describe_engine(model) == "openvino on cpu in fp32, ready at once"


def test_torch_is_always_ready(tmp_path: Path) -> None:
    model = ModelSettings(engine="torch", device="cpu", cache=str(tmp_path))
    assert describe_engine(model) == "torch on cpu in fp32, ready at once"
    assert load_reader(model).engine.name == "torch-cpu-fp32"


def test_what_nobody_grants_is_said_by_both(tmp_path: Path) -> None:
    model = ModelSettings(engine="torch", device="cpu", precision="int8", cache=str(tmp_path))
    for ask in (describe_engine, load_reader):
        with pytest.raises(UserError, match="precision = 'int8'"):
            ask(model)
