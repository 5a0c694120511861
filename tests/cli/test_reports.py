"""`ichd report`: a report readably, and held against its template."""

import json
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from typer.testing import CliRunner

from ichd.cli.main import app
from ichd.domain.delivery import ObjectKind
from ichd.domain.errors import UserError
from ichd.domain.reason import Reason
from ichd.report.document import encode
from ichd.report.keys import build_key_objects
from ichd.report.sr import RUNGS, build_report
from ichd.report.unread import Unread, build_unread
from tests.report.findings import CONTEXT, STUDY_UID, bleeding, header


@pytest.fixture
def unread() -> Dataset:
    return build_unread(Unread(study_instance_uid=STUDY_UID, reason=Reason.NOT_A_HEAD), [header()], CONTEXT)


def written(dataset: Dataset, folder: Path) -> str:
    path = folder / "object.dcm"
    path.write_bytes(encode(dataset))
    return str(path)


@pytest.mark.parametrize("kind", RUNGS)
def test_every_rung_is_shown(kind: ObjectKind, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", written(build_report(bleeding(), [header()], CONTEXT, kind), tmp_path)])
    assert done.exit_code == 0
    assert done.stdout.startswith("Intracranial haemorrhage: URGENT\n")


def test_the_short_report_is_shown(unread: Dataset, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", written(unread, tmp_path)])
    assert done.stdout.startswith("Intracranial haemorrhage: NOT ANALYSED\n")
    as_json = CliRunner().invoke(app, ["report", "--json", written(unread, tmp_path)])
    assert json.loads(as_json.stdout)["reason"] == "not_a_head"


def test_a_good_report_follows_its_template(unread: Dataset, tmp_path: Path) -> None:
    for report in (build_report(bleeding(), [header()], CONTEXT), unread):
        done = CliRunner().invoke(app, ["report", "--check", written(report, tmp_path)])
        assert (done.exit_code, done.stdout) == (0, "it follows TID 1500\n")


def test_deviations_are_printed_and_are_a_failure(tmp_path: Path) -> None:
    report = build_report(bleeding(), [header()], CONTEXT)
    del report.ContentSequence[0]
    path = written(report, tmp_path)
    done = CliRunner().invoke(app, ["report", "--check", path])
    assert done.exit_code == 1
    assert "is missing [TID 1204 Language of Content Item and Descendants]" in done.stdout
    as_json = CliRunner().invoke(app, ["report", "--check", "--json", path])
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["deviations"][0]["what"] == "is missing"


def test_an_image_has_no_template_to_follow(tmp_path: Path) -> None:
    image = header()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    done = CliRunner().invoke(app, ["report", "--check", written(image, tmp_path)])
    assert isinstance(done.exception, UserError)
    assert "no content tree" in str(done.exception)


def test_a_key_object_selection_is_no_report(tmp_path: Path) -> None:
    path = written(build_key_objects(bleeding(), [header()], CONTEXT), tmp_path)
    done = CliRunner().invoke(app, ["report", path])
    assert isinstance(done.exception, UserError)
    assert "Key Object Selection Document" in str(done.exception)
