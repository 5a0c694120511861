"""From readings to figures, and figures to a file and back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.manifest import ThresholdSpec
from tests.training.evaluation.made import made_readings, made_report
from training.evaluation.figures import read_report, write_report
from training.evaluation.result import SHARED, compare, evaluate
from training.measures.basic import auc_by_class, weighted_log_loss

THRESHOLDS = {"any": ThresholdSpec(present_from=0.8, absent_below=0.3)}


def test_figures_are_those_of_the_plain_measures() -> None:
    readings = made_readings(30)
    figures = evaluate(readings, thresholds=THRESHOLDS, rounds=50)
    p, y = np.concatenate([r.p_SC for r in readings]), np.concatenate([r.truth_SC for r in readings]) == 1
    assert figures.slices.log_loss is not None
    assert figures.slices.log_loss.weighted == pytest.approx(weighted_log_loss(p, y))
    scans = auc_by_class(np.stack([r.p_C for r in readings]), np.stack([r.truth_C for r in readings]) == 1)
    for name in CLASSES:
        by_scan = figures.scans.by_class[name]
        assert by_scan.auc is not None
        assert by_scan.auc.value == pytest.approx(scans[name])
    assert (figures.counts.scans, figures.counts.patients, figures.counts.bleeding_scans) == (30, 15, 10)


def test_unknown_labels_are_left_out_class_by_class_and_counted() -> None:
    readings = made_readings(30, unknown=0.2)
    figures = evaluate(readings, thresholds={}, rounds=20)
    y = np.concatenate([r.truth_SC for r in readings])
    for c, name in enumerate(CLASSES):
        assert figures.counts.unknown_labels[name] == (y[:, c] < 0).sum() > 0
        assert figures.slices.by_class[name].rows == (y[:, c] >= 0).sum()


def test_a_zone_of_doubt_has_two_operating_points() -> None:
    figures = evaluate(made_readings(30), thresholds=THRESHOLDS, prevalences=(0.01, 0.1), rounds=20)
    calls = [(one.name, one.call, one.point.threshold) for one in figures.operations]
    assert calls[:3] == [("any", "present", 0.8), ("any", "not absent", 0.3), ("intraparenchymal", "present", 0.5)]
    assert [one.prevalence for one in figures.operations[0].at] == [0.01, 0.1]


def test_shared_patients_are_also_left_out() -> None:
    readings = [replace(r, groups={SHARED: "yes" if k < 6 else "no"}) for k, r in enumerate(made_readings(30))]
    figures = evaluate(readings, thresholds={}, rounds=20)
    alone = evaluate(readings[6:], thresholds={}, rounds=20)
    assert figures.log_loss_unshared == alone.slices.log_loss
    assert alone.log_loss_unshared is None
    assert {(one.kind, one.name, one.rows) for one in figures.subgroups} == {(SHARED, "no", 24), (SHARED, "yes", 6)}


def test_worst_cases_name_their_images() -> None:
    readings = made_readings(12, skill=4.0)
    p_SC = readings[5].p_SC.copy()
    p_SC[2, 4] = 0.9999
    readings[5] = replace(readings[5], p_SC=p_SC)
    worst = evaluate(readings, thresholds={}, rounds=20).worst_slices[0]
    assert (worst.study_id, worst.image_id, worst.z_mm) == ("ID_s0005", readings[5].image_ids[2][0], 10.0)
    assert (worst.name, worst.present) == ("subdural", False)


def test_nothing_read_is_an_error_with_a_mend() -> None:
    with pytest.raises(UserError, match="name another split"):
        evaluate([], thresholds={})


def test_the_better_of_two_models_is_told_from_the_worse() -> None:
    better, worse = made_readings(90, skill=2.5), made_readings(90, skill=0.5)
    found = compare(better, worse, rounds=100)
    any_difference = found.by_class["any"]
    assert any_difference is not None
    assert any_difference.difference.low > 0
    assert any_difference.p_value < 0.001
    assert found.log_loss is not None
    assert found.log_loss.high < 0


def test_two_models_must_have_read_the_same() -> None:
    with pytest.raises(UserError, match="same scans"):
        compare(made_readings(6), made_readings(5))


def test_a_report_comes_back_from_its_file(tmp_path: Path) -> None:
    report, path = made_report(made_readings(24)), tmp_path / "evaluation.json"
    write_report(path, report)
    assert read_report(path) == report
    assert [file.name for file in tmp_path.iterdir()] == ["evaluation.json"]


@pytest.mark.parametrize("text", [b"{}", b"not json", b'{"form": "ichd report 2"}'])
def test_another_file_is_no_report(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "evaluation.json").write_bytes(text)
    with pytest.raises(UserError, match="ichd eval rsna"):
        read_report(tmp_path / "evaluation.json")
