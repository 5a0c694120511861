"""Table 2 from a download to its files, on phantoms laid out as CQ500."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from ichd.app.cq500 import read_cq500
from ichd.app.policies import reading_policy
from ichd.app.predict import gather
from ichd.app.predict import predict as predict_series
from ichd.cli.evaluation_cq500 import register
from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.settings import Settings
from ichd.vision.bundle import demo_bundle, load_bundle
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.manifest import read_manifest
from ichd.vision.reader import Reader
from training.cases.cq500 import find_cq500
from training.cases.cq500_reads import Predictions
from training.evaluation.cq500 import CaseReading, require_never_learnt, table2
from training.evaluation.published import PUBLISHED
from training.layouts.cq500 import write_cq500_layout


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four studies, and a fifth whose zip is cut short."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("cq500")
    write_cq500_layout(folder, studies=4, seed=3, rows=64, slices=(10, 11), zipped=True)
    reads = folder / "reads.csv"
    row = reads.read_text().splitlines()[-1].replace("CQ500-CT-3", "CQ500-CT-9")
    reads.write_text(reads.read_text() + row + "\n")
    (folder / "CQ500CT9.zip").write_bytes(b"PK\x03\x04")
    return folder


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(EagerEngine(load_bundle(demo_bundle()), device="cpu", threads=1))


def _case(name: str, truth: int, p: float | None) -> CaseReading:
    p_C = None if p is None else np.full(len(CLASSES), p)
    return CaseReading(name=name, truth_C=np.full(len(CLASSES), bool(truth)), p_C=p_C)


def test_what_is_evaluated_is_what_the_daemon_would_read(layout: Path, reader: Reader) -> None:
    data, policy = find_cq500(layout), reading_policy(Settings())
    cases = [case["daemon"] for case in read_cq500(data, reader, policy, ["daemon"])]
    assert [case.name for case in cases] == [f"CQ500-CT-{n}" for n in (0, 1, 2, 3, 9)]
    assert (cases[-1].p_C, cases[-1].reason) == (None, "damaged_archive")
    with data.scans[1].folder() as folder:
        records = list(predict_series(gather([folder]), reader, policy))
    (read,) = (record for record in records if record["daemon_would_read"])
    chosen, p_C = cases[1].chosen, cases[1].p_C
    assert chosen is not None
    assert p_C is not None
    assert chosen.series_uid == read["series_uid"]
    assert p_C.tolist() == pytest.approx([read["scan"][name] for name in CLASSES], abs=1e-6)
    assert {line.series_uid for line in cases[1].series} == {record["series_uid"] for record in records}
    assert all(line.reason for line in cases[1].series if not line.read)


def test_the_command_writes_the_table_its_series_and_its_predictions(
    layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICHD_MODEL__ENGINE", "torch")
    group = typer.Typer()
    group.callback()(lambda: None)
    register(group)
    line = ["cq500", "--bundle", "phantom-demo", "--data", str(layout), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(group, [*line, "--series", "daemon", "--series", "first", "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads((tmp_path / "out" / "cq500.json").read_text())
    assert json.loads(result.stdout) == said
    assert said["choices"]["daemon"]["read"] == 4
    assert [u["name"] for u in said["choices"]["daemon"]["unread"]] == ["CQ500-CT-9"]
    any_row = said["choices"]["daemon"]["rows"][0]
    assert any_row["published"] == {"Qure.ai": 0.9419, "ResNet-50": 0.9597, "SE-ResNeXt-50": 0.9613}
    assert not said["data"]["as_published"]
    with (tmp_path / "out" / "series.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert sum(row["read"] == "1" for row in lines if row["choice"] == "daemon") == 4
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["choice"] == "daemon" and row["any"]]
    again = roc_auc_score([int(r["truth_any"]) for r in rows], [float(r["comparator_any"]) for r in rows])
    assert any_row["comparator"]["value"] == pytest.approx(again)


def test_comparator_and_ours_stand_on_the_same_scans() -> None:
    rng = np.random.default_rng(5)
    truth = rng.random(60) < 0.4
    cases = [_case(f"CQ500-CT-{n}", int(y), None if n < 5 else float(rng.random())) for n, y in enumerate(truth)]
    theirs = {case.name: rng.random(len(CLASSES)) for case in cases[:50]}
    row = table2(cases, Predictions(p_C=theirs, sha256="")).rows[0]
    both = cases[5:50]
    q = [theirs[case.name][0] for case in both]
    assert (row.scans, row.shared) == (55, 45)
    assert row.comparator is not None
    assert row.comparator_all is not None
    assert row.against_comparator is not None
    assert row.comparator.value == pytest.approx(roc_auc_score([c.truth_C[0] for c in both], q))
    assert row.comparator_all == pytest.approx(roc_auc_score(truth[:50], [theirs[c.name][0] for c in cases[:50]]))
    assert row.ours is not None
    assert row.ours_bootstrap is not None
    assert row.ours_bootstrap.low < row.ours.value < row.ours_bootstrap.high


def test_a_scan_that_was_not_read_can_be_counted_either_way() -> None:
    cases = [_case("a", 1, 0.9), _case("b", 0, 0.1), _case("c", 1, None)]
    row = table2(cases, None).rows[0]
    assert (row.if_positive, row.if_negative) == (1.0, 0.5)
    assert row.comparator is None
    assert row.against_comparator is None


def test_without_positives_nothing_is_said() -> None:
    row = table2([_case("a", 0, 0.9), _case("b", 0, 0.1)], None).rows[0]
    assert (row.ours, row.ours_bootstrap, row.if_positive) == (None, None, None)


def test_a_model_that_learnt_from_cq500_is_refused_there() -> None:
    manifest = read_manifest(demo_bundle())
    require_never_learnt(manifest)
    learnt = manifest.model_copy(update={"training_data": "RSNA 2019 and pseudo-labelled CQ-500"})
    with pytest.raises(UserError, match="evaluate it on scans that it has not learnt from"):
        require_never_learnt(learnt)


def test_published_columns_are_those_of_the_paper() -> None:
    assert [p.auc["any"] for p in PUBLISHED] == [0.9419, 0.9597, 0.9613]
    assert [p.auc["intraventricular"] for p in PUBLISHED] == [0.9310, 0.9901, 0.9858]
    assert [p.auc["epidural"] for p in PUBLISHED] == [0.9731, 0.9740, 0.9731]
    assert all(tuple(p.auc) == CLASSES for p in PUBLISHED)
