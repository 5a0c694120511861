"""`ichd data check` names every file that is not as it was packed; the commands as people see them."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ichd.cli import packing
from ichd.domain.errors import UserError
from tests.training.packed.site import Image, Study, head, plain_study, write_site
from training.cases.index import write_index
from training.packed.check import check
from training.packed.dataset import open_packed
from training.packed.pack import pack, shard_name


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    studies = [plain_study(f"ID_{n}", seed=n) for n in range(3)]
    pack(write_site(tmp_path / "images", studies), tmp_path / "packed")
    return tmp_path / "packed"


@pytest.fixture
def app() -> typer.Typer:
    group = typer.Typer()
    packing.register(group)
    return group


def faults(folder: Path) -> list[tuple[str, str]]:
    return [(fault.problem, fault.file) for fault in check(folder).faults]


def test_what_was_packed_is_whole(packed: Path) -> None:
    result = check(packed)
    assert result.ok
    assert (result.studies, result.slices) == (3, 9)
    assert result.data_sha256 == open_packed(packed).data_sha256


def test_missing_corrupt_and_extra_files_are_named(packed: Path) -> None:
    (packed / shard_name("ID_0")).unlink()
    spoiled = bytearray((packed / shard_name("ID_1")).read_bytes())
    spoiled[-1] ^= 4
    (packed / shard_name("ID_1")).write_bytes(spoiled)
    (packed / "notes.txt").write_text("mine")
    assert faults(packed) == [
        ("missing", shard_name("ID_0")),
        ("corrupt", shard_name("ID_1")),
        ("extra", "notes.txt"),
    ]


def test_a_whole_shard_in_the_place_of_another_is_found(packed: Path) -> None:
    """Its own checksums hold; it is not what was packed all the same."""
    (packed / shard_name("ID_2")).write_bytes((packed / shard_name("ID_1")).read_bytes())
    assert faults(packed) == [("corrupt", shard_name("ID_2"))]


def test_a_table_that_was_edited_is_refused(packed: Path) -> None:
    import polars as pl

    path = packed / "studies.parquet"
    said = pl.read_parquet_metadata(path)
    edited = pl.read_parquet(path).with_columns(split=pl.lit("test"))
    edited.write_parquet(path, metadata={k: v for k, v in said.items() if not k.startswith("ARROW")})
    with pytest.raises(UserError, match=r"studies\.parquet is damaged: its rows do not match their checksum"):
        open_packed(packed)


def test_a_table_that_is_no_parquet_is_refused(packed: Path) -> None:
    (packed / "studies.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="is no whole parquet file"):
        open_packed(packed)


def test_pack_says_what_it_packed_and_what_it_left_out(tmp_path: Path, app: typer.Typer) -> None:
    broken = Study(name="ID_bad", images=[Image(hu_HW=head(), cut_to=10)])
    index = write_site(tmp_path / "images", [plain_study("ID_good"), broken])
    write_index(tmp_path / "index.parquet", index)
    line = ["pack", str(tmp_path / "index.parquet"), "--out", str(tmp_path / "packed"), "--processes", "1"]
    said = CliRunner().invoke(app, line)
    assert said.exit_code == 0
    assert "1 (train 1)" in said.output
    assert "3 of 3 images" in said.output
    assert "the file is missing, damaged or cut short" in said.output
    again = json.loads(CliRunner().invoke(app, [*line, "--json"]).output)
    assert (again["studies"], again["kept"], again["slices"]) == (1, 1, 3)
    assert again["ratio"] > 1


def test_check_ends_with_1_where_anything_is_wrong(packed: Path, app: typer.Typer) -> None:
    whole = CliRunner().invoke(app, ["check", str(packed)])
    assert whole.exit_code == 0
    assert "3 studies, 9 slices" in whole.output
    (packed / shard_name("ID_0")).unlink()
    wrong = CliRunner().invoke(app, ["check", str(packed), "--json"])
    assert wrong.exit_code == 1
    assert json.loads(wrong.output)["faults"][0]["file"] == shard_name("ID_0")
    assert shard_name("ID_0") in CliRunner().invoke(app, ["check", str(packed)]).output
