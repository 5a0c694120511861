"""From images to a bundle that is in service, by the commands that a person types, on phantoms in RSNA's layout."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = [
    "--init", "none", "--device", "cpu", "--set", "network.backbone=convnext_atto", "--set", "input.image_size=64",
    "--set", "network.recurrent.hidden=8", "--set", "optimisation.epochs=2", "--set", "second_stage.epochs=2",
    "--set", "data.processes=1",
]  # fmt: skip


def run(*arguments: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "ichd", *map(str, arguments)]
    return subprocess.run(command, check=False, cwd=cwd, capture_output=True, text=True, timeout=300)


def ichd(*arguments: object, cwd: Path) -> str:
    done = run(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesised, indexed, packed and trained: everything of `beyond`, small."""
    folder = tmp_path_factory.mktemp("learning")
    ichd("data", "synthesise", "rsna", "--studies", 16, "--seed", 3, "--rows", 96, cwd=folder)
    ichd("data", "index", "--rsna", "rsna", "--out", "rsna.parquet", "--valid", 0.2, "--test", 0.3, cwd=folder)
    ichd("data", "pack", "rsna.parquet", "--out", "packed", cwd=folder)
    ichd("train", "beyond", "--data", "packed", "--out", "run", *SMALL, cwd=folder)
    return folder


def test_the_bundle_says_what_it_was_made_of(work: Path) -> None:
    manifest = json.loads((work / "run/bundle/model.json").read_text())
    packed = json.loads(ichd("data", "check", "packed", "--json", cwd=work))
    assert manifest["demonstration"] is True
    assert manifest["training_data"].startswith("Synthetic head CT phantoms only")
    assert packed["data_sha256"] in manifest["training_data"]
    assert json.loads((work / "run/bundle/recipe.json").read_text())["second_stage"]["epochs"] == 2
    assert json.loads((work / "run/bundle/run.json").read_text())["packages"]["torch"]


def test_a_run_leaves_its_curve_and_its_journal(work: Path) -> None:
    assert (work / "run/curve.png").read_bytes().startswith(b"\x89PNG")
    kinds = {json.loads(line)["kind"] for line in (work / "run/log.jsonl").read_text().splitlines()}
    assert kinds == {"progress", "validation"}
    assert list((work / "run/tensorboard").iterdir())
    assert (work / "run/second_stage/log.jsonl").is_file()


def test_the_first_batch_can_be_seen(work: Path) -> None:
    ichd("train", "resnet50", "--data", "packed", "--out", "unused", "--show-batch", "batch.png", cwd=work)
    assert (work / "batch.png").read_bytes().startswith(b"\x89PNG")


def test_the_bundle_is_evaluated(work: Path) -> None:
    said = json.loads(
        ichd("eval", "rsna", "--bundle", "run/bundle", "--data", "packed", "--out", "eval", "--json", cwd=work)
    )
    assert 0 < said["evaluation"]["slices"]["log_loss"]["weighted"] < 5
    rows = (work / "eval/submission.csv").read_text().splitlines()
    assert rows[0] == "ID,Label"
    assert len(rows) % 6 == 1
    assert "<html" in (work / "eval/evaluation.html").read_text()


def test_the_bundle_reads_a_series_as_the_daemon_does(work: Path) -> None:
    ichd("phantom", "series", "--slices", 12, "--seed", 4, "--bleed", "subdural", cwd=work)
    (work / "ichd.toml").write_text('[model]\nbundle = "run/bundle"\n')
    read = json.loads(ichd("predict", "series", "--json", cwd=work))
    (one,) = read if isinstance(read, list) else [read]
    assert one["model"]["name"] == "beyond"
    assert len(one["slices"]) == 12


def test_other_data_are_refused_for_the_same_run(work: Path) -> None:
    ichd("data", "synthesise", "other", "--studies", 6, "--seed", 4, "--rows", 96, cwd=work)
    ichd("data", "index", "--rsna", "other", "--out", "other.parquet", cwd=work)
    ichd("data", "pack", "other.parquet", "--out", "other-packed", cwd=work)
    done = run("train", "beyond", "--data", "other-packed", "--out", "run", *SMALL, cwd=work)
    assert done.returncode == 2
    assert "holds a run of other data" in done.stderr
