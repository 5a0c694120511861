"""model list, promote and rollback as a person types them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ichd.cli.main import app
from ichd.domain.errors import UserError
from ichd.vision.bundle import demo_bundle, load_bundle, save_bundle
from training.evaluation.reference import kept_phantoms


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another version of the demonstration model, one that says the opposite of it, and a small reference set."""
    folder = tmp_path_factory.mktemp("promotion")
    bundle = load_bundle(demo_bundle())
    second = bundle.manifest.model_copy(update={"version": "2"})
    save_bundle(folder / "two", second, bundle.state_dict)
    calibration = {name: each.model_copy(update={"bias": 9.0}) for name, each in second.calibration.items()}
    unsure = second.model_copy(update={"version": "3", "calibration": calibration})
    save_bundle(folder / "three", unsure, bundle.state_dict)
    kept_phantoms(folder / "reference" / "phantoms", scans=6, rows=96, on_scan=lambda _done, _of: None)
    return folder


@pytest.fixture
def models(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where promoted models go, with the reference set in place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ichd.toml").write_text('[model]\nengine = "torch"\ndevice = "cpu"\nthreads = 1\npromoted = "models"\n')
    monkeypatch.setenv("ICHD_CONFIG", str(tmp_path / "ichd.toml"))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "reference").symlink_to(work / "reference")
    return tmp_path / "models"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["model", *arguments])


def said(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def in_force() -> list[str]:
    return [line["version"] for line in said("list") if line["state"] == "in force"]


def test_a_candidate_that_is_as_good_is_promoted_with_its_figures(models: Path, work: Path) -> None:
    done = run("promote", str(work / "two"), "--reference", "phantoms")

    assert done.exit_code == 0, done.output
    assert "6 phantoms: 6 scans of 6 patients, 3 bleed" in done.output
    assert "weak evidence" in done.output
    assert "promoted phantom-demo 2" in done.output
    pointer = json.loads((models / "current.json").read_text())
    assert pointer["gate"]["reference"] == "6 phantoms"
    assert pointer["gate"]["passed"]
    assert in_force() == ["2"]

    assert said("rollback")["version"] == "1"
    assert in_force() == ["1"]
    assert {line["version"] for line in said("list") if line["promotable"]} == {"2"}, "1 is in force, its copies too"


def test_one_whose_probabilities_mean_nothing_is_not(models: Path, work: Path) -> None:
    done = run("promote", str(work / "three"), "--reference", "phantoms", "--json")

    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    assert not answer["promoted"]
    assert "weighted log loss is higher" in answer["gate"]["objections"][0]
    assert not (models / "current.json").exists()


def test_whoever_measures_nothing_says_why(models: Path, work: Path) -> None:
    assert not said("promote", str(work / "two"), "--without-gate", "the reference set is being packed")[
        "in_audit_trail"
    ]
    record = json.loads(next(models.glob("*/promotion.json")).read_text())
    assert record["how"] in {"without_gate", "was_in_force"}
    assert in_force() == ["2"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("promote", "phantom-demo"), "in force already"),
        (("promote", "two"), "what shall the candidate be measured on"),
        (("promote", "two", "--without-gate", " "), "wants the reason"),
        (("promote", "two", "--without-gate", "why", "--reference", "phantoms"), "exclude each other"),
        (("promote", "nowhere"), "neither a shipped model"),
        (("rollback",), "nothing was promoted"),
    ],
)
def test_a_mistake_is_answered_with_the_mend(
    models: Path, work: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = run(*(str(work / each) if each == "two" else each for each in arguments))

    assert isinstance(done.exception, UserError)
    assert sentence in str(done.exception)
    assert not (models / "current.json").exists()
