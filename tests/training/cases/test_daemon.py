"""From the daemon's store to an index: what readers said becomes labels of whole studies."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from ichd.app.export_cases import export_cases
from ichd.app.storage import Storage
from ichd.cli.main import app
from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.domain.review import Agreement, Review, ReviewSource
from ichd.store.reviews import Reviews
from tests.pipeline.clinic import Clinic
from training.cases.daemon import index_daemon, labels_of
from training.cases.joining import labelled

from .files import SLICES, write_study


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    """A daemon's store with one study that was read."""
    write_study(tmp_path / "sent", seed=21, patient_id="P1")
    clinic = Clinic(tmp_path, sorted((tmp_path / "sent").iterdir()))
    clinic.read()
    return clinic


def say(clinic: Clinic, reader: str, **truth: bool) -> None:
    word = Review(
        agreement=Agreement.DISAGREED,
        source=ReviewSource.API,
        received_at=clinic.now,
        reviewer=reader,
        truth=truth,
        key=reader,
    )
    Reviews(clinic.engine).record(clinic.study_uid, word)


def storage_of(clinic: Clinic) -> Storage:
    return Storage(engine=clinic.engine, spool=clinic.spool, studies=clinic.studies)


def test_a_readers_truth_labels_the_study(clinic: Clinic, tmp_path: Path) -> None:
    say(clinic, "roe", any=True, subdural=True, epidural=False)
    exported = export_cases(storage_of(clinic), tmp_path / "export")
    assert (exported.studies, exported.images, exported.without_images) == (1, SLICES, ())
    index = index_daemon(tmp_path / "export")
    assert len(index.used) == SLICES
    assert index.used.select(CLASSES).unique().row(0) == (1, None, None, None, 1, 0)
    assert set(index.used["label_level"]) == {"study"}
    assert set(index.used["patient_id"]) == {"P1"}
    assert set(index.used["study_id"]) == {clinic.study_uid}


def test_the_export_says_what_the_model_had_said(clinic: Clinic, tmp_path: Path) -> None:
    say(clinic, "roe", subdural=True)
    export_cases(storage_of(clinic), tmp_path / "export")
    (line,) = [json.loads(line) for line in (tmp_path / "export" / "studies.jsonl").read_text().splitlines()]
    assert line["patient_id"] == "P1"
    assert set(line["scan"]) == set(CLASSES)
    assert line["bundle_sha256"] == "fedcba9876543210" * 4
    assert line["reviews"][0]["agreement"] == "disagreed"
    assert line["reviews"][0]["truth"] == {"subdural": True}
    assert "roe" not in (tmp_path / "export" / "studies.jsonl").read_text(), "who said it is nobody's business here"


@pytest.mark.parametrize("link", [False, True])
def test_images_are_copies_or_links_of_the_same_bytes(clinic: Clinic, tmp_path: Path, *, link: bool) -> None:
    say(clinic, "roe", any=False)
    export_cases(storage_of(clinic), tmp_path / "export", link=link)
    written = sorted((tmp_path / "export" / "images").rglob("*.dcm"))
    assert {path.read_bytes() for path in written} == {p.read_bytes() for p in (tmp_path / "sent").iterdir()}
    assert {path.stat().st_nlink for path in written} == {2 if link else 1}


def test_the_command_reads_what_the_settings_name(clinic: Clinic, tmp_path: Path) -> None:
    say(clinic, "roe", any=False)
    config = tmp_path / "ichd.toml"
    config.write_text(f'[database]\nurl = "sqlite:///{tmp_path}/ichd.db"\n[spool]\nurl = "{tmp_path}/spool"\n')
    command = ["--config", str(config), "export", str(tmp_path / "export"), "--json"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert json.loads(done.output) == {
        "folder": str(tmp_path / "export"),
        "studies": 1,
        "images": SLICES,
        "without_images": [],
        "damaged": [],
    }


def test_without_a_word_there_is_nothing_to_export(clinic: Clinic, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no reader has spoken"):
        export_cases(storage_of(clinic), tmp_path / "export")
    assert not (tmp_path / "export").exists()


def test_what_is_there_already_is_left_alone(clinic: Clinic, tmp_path: Path) -> None:
    say(clinic, "roe", any=False)
    export_cases(storage_of(clinic), tmp_path / "export")
    with pytest.raises(UserError, match="there already"):
        export_cases(storage_of(clinic), tmp_path / "export")


def test_a_study_whose_images_are_gone_is_named(clinic: Clinic, tmp_path: Path) -> None:
    say(clinic, "roe", any=False)
    next(clinic.spool.root.rglob("*.dcm")).unlink()
    exported = export_cases(storage_of(clinic), tmp_path / "export")
    assert exported.without_images == (clinic.study_uid,)
    assert exported.studies == 0
    with pytest.raises(UserError, match="names no study"):
        index_daemon(tmp_path / "export")


@pytest.mark.parametrize("harm", ["a flipped bit", "a cut end"])
@pytest.mark.parametrize("link", [False, True])
def test_a_damaged_image_is_reported_and_never_exported(
    clinic: Clinic, tmp_path: Path, harm: str, *, link: bool
) -> None:
    say(clinic, "roe", any=False)
    victim = sorted(clinic.spool.root.rglob("*.dcm"))[-1]
    content = bytearray(victim.read_bytes())
    content[-5] ^= 1
    victim.write_bytes(content if harm == "a flipped bit" else content[:-5])
    exported = export_cases(storage_of(clinic), tmp_path / "export", link=link)
    assert (exported.studies, exported.images) == (0, 0)
    assert (exported.without_images, exported.damaged) == ((), (clinic.study_uid,))
    assert list((tmp_path / "export" / "images").rglob("*.dcm")) == []
    assert (tmp_path / "export" / "studies.jsonl").read_text() == ""


def test_the_command_names_what_is_damaged_and_says_that_it_is_not_all(clinic: Clinic, tmp_path: Path) -> None:
    say(clinic, "roe", any=False)
    victim = next(clinic.spool.root.rglob("*.dcm"))
    victim.write_bytes(victim.read_bytes()[::-1])
    config = tmp_path / "ichd.toml"
    config.write_text(f'[database]\nurl = "sqlite:///{tmp_path}/ichd.db"\n[spool]\nurl = "{tmp_path}/spool"\n')
    done = CliRunner().invoke(app, ["--config", str(config), "export", str(tmp_path / "export")])
    assert done.exit_code == 1
    assert f"no longer what was received; send it again: {clinic.study_uid}" in done.output


def study(uid: str, *truths: dict[str, bool]) -> dict[str, Any]:
    return {"study_uid": uid, "images": [], "reviews": [{"truth": truth} for truth in truths]}


def test_words_of_several_readers_add_up_unless_they_contradict() -> None:
    labels = labels_of(
        [
            study("together", {"subdural": True}, {"epidural": False}),
            study("apart", {"subdural": True}, {"subdural": False}),
            study("at odds", {"any": False}, {"subdural": True}),
            study("silent", {}),
        ]
    )
    found = {row["key"]: row for row in labels.table.to_dicts()}
    assert found["together"]["any"] == 1
    assert found["together"]["epidural"] == 0
    assert found["together"]["fault"] is None
    assert found["apart"]["fault"] == "readers contradict each other: subdural"
    assert found["at odds"]["fault"] == '"any" is not the maximum of the subtypes'
    assert found["silent"]["fault"] == "no reader says what is there"
    images = pl.DataFrame(
        {"image_id": list("abcd"), "study_id": list(found), "left_out": [None] * 4},
        schema_overrides={"left_out": pl.String},
    )
    joined, _ = labelled(images, labels, whole_studies=True)
    assert joined.filter(pl.col("left_out").is_null())["study_id"].to_list() == ["together"]


@pytest.mark.parametrize("text", ["{", '{"study_uid": "1"}', "\xff"])
def test_what_is_no_export_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "studies.jsonl").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="ichd export"):
        index_daemon(tmp_path)
