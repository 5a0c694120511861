"""ichd eval: what its options refuse, and what it prints."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ichd.cli.evaluation_tables import print_report, print_submission
from ichd.cli.main import app
from tests.training.evaluation.made import made_readings, made_report
from training.evaluation.submission import write_submission


def test_an_unknown_split_is_refused_before_anything_is_read() -> None:
    result = CliRunner().invoke(app, ["eval", "rsna", "--bundle", "b", "--data", "d", "--split", "tset"])
    assert "--split tset is unknown; use one of train, valid, test" in str(result.exception)


def test_people_read_figures_with_intervals_and_caveats(capsys: pytest.CaptureFixture[str]) -> None:
    readings = made_readings(36, skill=1.0)
    print_report(made_report(readings, against=made_readings(36, skill=0.5)))
    printed = capsys.readouterr().out
    for needed in ("weighted log loss  0.", "prevalence alone", "0.42 s a scan; 0.81 s with its mirror image", "PPV"):
        assert needed in printed
    assert "Less resnet50-2d 2026.1 on the same scans; above 0, this one is better" in printed
    assert printed.rstrip().endswith("! The model is a demonstration: nothing here says how it reads patients.")


def test_images_that_were_guessed_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readings = made_readings(1)
    lost = [f"ID_{k}" for k in range(7)]
    submission = write_submission(tmp_path / "submission.csv", readings, [*lost, readings[0].image_ids[0][0]])
    print_submission({"submission": submission.path}, submission)
    printed = capsys.readouterr().out
    assert "7 of 8 images were not read; they have the prevalence: ID_0, ID_1, ID_2, ID_3, ID_4 and 2 more" in printed
