"""`ichd calibrate` from packed phantoms to a bundle that the daemon would read; the reading itself is done once."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ichd.cli.main import app
from ichd.domain.errors import UserError
from ichd.vision.bundle import demo_bundle, load_bundle
from tests.training.calibration.packing import packed_phantoms
from training.calibration.bundle import refuse_learnt
from training.packed.dataset import PackedData, open_packed


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed_phantoms(tmp_path_factory.mktemp("calibrate"), patients=44)


@pytest.fixture(scope="module")
def calibrated(packed: Path) -> tuple[Path, str]:
    out = packed.parent / "bundle"
    asked = ["calibrate", "--bundle", "phantom-demo", "--data", str(packed), "--out", str(out), "--device", "cpu"]
    answer = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return out, answer.output


def test_the_new_bundle_has_the_old_weights_and_says_how_it_was_calibrated(calibrated: tuple[Path, str]) -> None:
    before, after = load_bundle(demo_bundle()), load_bundle(calibrated[0])
    assert after.identity.weights_sha256 == before.identity.weights_sha256
    assert after.identity.bundle_sha256 != before.identity.bundle_sha256
    entry = after.manifest.scan_calibration["any"]
    assert (entry.scans, entry.patients, entry.prevalence) == (44, 44, 0.5)
    assert set(after.manifest.scan_calibration) == {"any", "intraparenchymal"}
    assert after.manifest.thresholds["epidural"] == before.manifest.thresholds["epidural"]
    metrics = after.manifest.metrics
    assert metrics["scan_calibration.from_bundle_sha256"] == before.identity.bundle_sha256
    assert isinstance(metrics["scan_calibration.ece_before"], dict)
    assert not any(name.endswith("any_scan_calls") for name in metrics)


def test_the_table_has_before_and_after(calibrated: tuple[Path, str]) -> None:
    assert re.search(r"Any haemorrhage +22 of 44 +0\.\d{3} -> 0\.\d{3}", calibrated[1])
    assert "Too few patients to calibrate intraventricular, subarachnoid" in calibrated[1]


def test_a_bundle_is_never_overwritten(calibrated: tuple[Path, str], packed: Path) -> None:
    before = (calibrated[0] / "model.json").read_bytes()
    asked = ["calibrate", "--bundle", "phantom-demo", "--data", str(packed), "--out", str(calibrated[0])]
    answer = CliRunner().invoke(app, asked)
    assert isinstance(answer.exception, UserError)
    assert (calibrated[0] / "model.json").read_bytes() == before


def test_isotonic_says_how_many_it_needs_and_leaves_nothing(packed: Path, tmp_path: Path) -> None:
    asked = ["calibrate", "--bundle", "phantom-demo", "--data", str(packed), "--out", str(tmp_path / "new")]
    answer = CliRunner().invoke(app, [*asked, "--method", "isotonic", "--device", "cpu"])
    assert isinstance(answer.exception, UserError)
    assert "isotonic needs 100 of either" in str(answer.exception)
    assert list(tmp_path.iterdir()) == []


def test_what_was_learnt_from_is_no_held_out_data(packed: Path) -> None:
    data: PackedData = open_packed(packed)
    manifest = load_bundle(demo_bundle()).manifest
    with pytest.raises(UserError, match="does not say which data"):
        refuse_learnt(manifest, data, "train")
    learnt = manifest.model_copy(update={"metrics": {"run.data": {"data_sha256": data.data_sha256}}})
    with pytest.raises(UserError, match="learnt from them"):
        refuse_learnt(learnt, data, "train")
    refuse_learnt(learnt, data, "valid")
    other = manifest.model_copy(update={"metrics": json.loads('{"run.data": {"data_sha256": "00"}}')})
    refuse_learnt(other, data, "train")
