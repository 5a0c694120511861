"""The commands on models: what they write, what they say, and the sentence where they can't."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from ichd.cli.main import app
from ichd.domain.errors import UserError
from ichd.vision.bundle import load_bundle
from tests.vision.published import PublishedModel

from .test_main import ichd


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a published checkpoint and a backbone's weights."""
    folder = tmp_path_factory.mktemp("models")
    model = PublishedModel(groups=1, squeeze=False, stem="padded")
    torch.save({"epoch": 30, "arch": "resnet50", "state_dict": model.state_dict()}, folder / "best.pth")
    save_file(timm.create_model("resnet10t").state_dict(), folder / "resnet10t.safetensors")
    return folder


def test_a_published_checkpoint_becomes_a_bundle(work: Path) -> None:
    options = ("--format", "midl2020", "--channel-order", "bone,subdural,brain", "--version", "7", "--json")
    done = ichd("model", "import", "best.pth", "published", *options, cwd=work)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["channels"] == ["bone", "subdural", "brain"]
    assert said["decoder_parameters"] == 16_799_750
    assert "non-commercial" in said["licence"]
    bundle = load_bundle(work / "published")
    assert (bundle.identity.name, bundle.identity.version) == ("published", "7")
    assert "not for clinical use" in bundle.identity.statement
    bundle.network()


def test_a_backbone_becomes_a_starting_point(work: Path) -> None:
    options = ("--format", "timm", "--backbone", "resnet10t")
    done = ichd("model", "import", "resnet10t.safetensors", "start.safetensors", *options, cwd=work)
    assert done.returncode == 0, done.stderr
    assert 'recipe: init = "start.safetensors"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("best.pth", "out", "--format", "keras"), "--format keras is unknown; use one of midl2020, timm"),
        (("best.pth", "out", "--format", "midl2020"), "--channel-order is needed"),
        (("best.pth", "out", "--format", "midl2020", "--channel-order", "brain,bone"), "once each"),
        (("best.pth", ".", "--format", "midl2020", "--channel-order", "brain,subdural,bone"), "name another"),
        (
            ("best.pth", "a b", "--format", "midl2020", "--channel-order", "brain,subdural,bone"),
            "--name can't be used",
        ),
        (
            ("best.pth", "o", "--format", "midl2020", "--channel-order", "brain,subdural,bone", "--backbone", "vgg"),
            "--backbone vgg is unknown",
        ),
        (("resnet10t.safetensors", "out", "--format", "timm"), "--backbone is needed"),
        (("resnet10t.safetensors", "out", "--format", "timm", "--backbone", "resnet10t"), "end in .safetensors"),
    ],
)
def test_an_import_that_cannot_be_is_one_sentence(
    work: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(work)
    assert sentence in refusal("import", *arguments)
    assert not (work / "out").exists()


def test_a_bundle_becomes_a_graph_that_says_the_same(work: Path) -> None:
    done = ichd("model", "export", "--onnx", "phantom-demo", "demo.onnx", "--json", cwd=work)
    assert done.returncode == 0, done.stderr
    differences = json.loads(done.stdout)["max_abs_diff"]
    assert set(differences) == {"openvino", "onnxruntime"}
    assert max(differences.values()) < 1e-4
    assert sorted(path.name for path in work.glob("*.onnx")) == ["demo.onnx"]


def test_an_export_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "there.onnx").touch()
    for arguments, sentence in (
        (("--onnx", "phantom-demo", str(tmp_path / "there.onnx")), "is there already"),
        (("--onnx", "phantom-demo", str(tmp_path / "demo")), "must end in .onnx"),
        (("phantom-demo", str(tmp_path / "demo.onnx")), "say in which form"),
        (("--onnx", "absent", str(tmp_path / "demo.onnx")), "neither a shipped model"),
    ):
        assert sentence in refusal("export", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["there.onnx"]


def refusal(*arguments: str) -> str:
    """What the person is told, who can mend it; in this process, because torch takes seconds to load."""
    error = CliRunner().invoke(app, ["model", *arguments]).exception
    assert isinstance(error, UserError)
    return str(error)
