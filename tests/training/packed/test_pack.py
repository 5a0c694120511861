"""Packing a data set: whole, resumable, and clear about what it leaves out."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from tests.training.packed.site import Image, Study, head, plain_study, write_site
from training.cases.index import Index, write_index
from training.packed.dataset import open_packed
from training.packed.pack import pack, shard_name
from training.packed.study import UNKNOWN


def bytes_of(folder: Path) -> Mapping[str, bytes]:
    """Every packed file but the journal, whose lines stand in the order in which they came."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "journal.jsonl"
    }


@pytest.fixture
def index(tmp_path: Path) -> Index:
    studies = [plain_study(f"ID_{n}", 2 + n, seed=n, split="valid" if n == 3 else "train") for n in range(4)]
    return write_site(tmp_path / "images", studies)


def test_what_was_indexed_can_be_opened(tmp_path: Path, index: Index) -> None:
    seen: list[tuple[int, int]] = []
    summary = pack(index, tmp_path / "packed", on_progress=lambda done, total: seen.append((done, total)))
    data = open_packed(tmp_path / "packed")

    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (summary.studies, summary.images, summary.slices) == (4, 14, 14)
    assert summary.splits == {"train": 3, "valid": 1}
    assert summary.data_sha256 == data.data_sha256
    assert data.facts == {"source": "test"}
    assert [study.study_id for study in data.split("train")] == ["ID_0", "ID_1", "ID_2"]
    (valid,) = data.split("valid")
    assert np.array_equal(valid.hu([1, 4]), [head(seed=301), head(seed=304)])
    assert valid.patient_id == "ID_3.patient"
    assert valid.labels_SC[:, CLASSES.index("any")].tolist() == [0, 1, 0, 1, 0]
    assert valid.study_labels_C.tolist() == [1, 1, 0, 0, 0, 0]
    assert (valid.rows, valid.columns, len(valid)) == (48, 40, 5)
    assert valid.head_centre == pytest.approx((23.5, 19.5), abs=2.1)
    with pytest.raises(UserError, match="no study in the split 'test', only in train, valid"):
        data.split("test")


def test_of_a_study_that_is_labelled_as_a_whole_only_absence_is_known_of_slices(tmp_path: Path) -> None:
    said = {"any": 1, "subdural": 1, "epidural": 0}
    images = [Image(hu_HW=head(seed=n), z_mm=5.0 * n, labels=said) for n in range(2)]
    index = write_site(tmp_path / "images", [Study(name="1.2.3", images=images, label_level="study")])
    pack(index, tmp_path / "packed")
    (study,) = open_packed(tmp_path / "packed").studies
    by_class = dict(zip(CLASSES, study.labels_SC.T.tolist(), strict=True))
    assert by_class["epidural"] == [0, 0]
    assert by_class["subdural"] == by_class["any"] == by_class["subarachnoid"] == [UNKNOWN, UNKNOWN]
    assert dict(zip(CLASSES, study.study_labels_C.tolist(), strict=True)) == {
        **dict.fromkeys(CLASSES, UNKNOWN), "any": 1, "subdural": 1, "epidural": 0
    }  # fmt: skip


def test_a_study_of_one_slice(tmp_path: Path) -> None:
    pack(write_site(tmp_path / "images", [plain_study("ID_one", 1)]), tmp_path / "packed")
    (study,) = open_packed(tmp_path / "packed").studies
    assert study.hu().shape == (1, 48, 40)


def test_what_is_left_out_stands_in_a_table(tmp_path: Path) -> None:
    broken = Study(name="ID_bad", images=[Image(hu_HW=head(), cut_to=10)])
    index = write_site(tmp_path / "images", [plain_study("ID_good"), broken, plain_study("ID_none", split=None)])
    summary = pack(index, tmp_path / "packed")
    assert summary.studies == 1
    assert summary.left_out == {
        "the file is missing, damaged or cut short": 1, "no image of the study can be used": 1, "in no split": 1
    }  # fmt: skip
    table = pl.read_parquet(tmp_path / "packed" / "left_out.parquet")
    assert table["study_id"].to_list() == ["ID_bad", "ID_bad", "ID_none"]
    assert table["image_id"].to_list() == [None, "ID_bad.0", None]


def test_nothing_to_pack_is_no_data_set(tmp_path: Path) -> None:
    broken = Study(name="ID_bad", images=[Image(hu_HW=head(), cut_to=10)])
    with pytest.raises(UserError, match=r"nothing could be packed .*cut short"):
        pack(write_site(tmp_path / "images", [broken]), tmp_path / "packed")
    with pytest.raises(UserError, match="holds no packed studies"):
        open_packed(tmp_path / "packed")


def test_packing_again_changes_nothing(tmp_path: Path, index: Index) -> None:
    folder = tmp_path / "packed"
    pack(index, folder)
    before = bytes_of(folder)
    assert pack(index, folder).kept == 4
    assert bytes_of(folder) == before


def test_a_damaged_or_missing_shard_is_packed_again(tmp_path: Path, index: Index) -> None:
    folder = tmp_path / "packed"
    pack(index, folder)
    before = bytes_of(folder)
    (folder / shard_name("ID_0")).write_bytes(b"spoiled")
    (folder / shard_name("ID_1")).unlink()
    assert pack(index, folder).kept == 2
    assert bytes_of(folder) == before


def test_the_folder_of_another_index_is_refused(tmp_path: Path, index: Index) -> None:
    pack(index, tmp_path / "packed")
    other = replace(index, images=index.images.with_columns(split=pl.lit("test")))
    with pytest.raises(UserError, match=r"was packed from another index .*name another folder"):
        pack(other, tmp_path / "packed")


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path, index: Index) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.partial").write_text("mine")
    with pytest.raises(UserError, match="holds other files; name a folder that is empty"):
        pack(index, tmp_path / "home")
    assert bytes_of(tmp_path / "home") == {"thesis.partial": b"mine"}


def test_two_cannot_pack_into_one_folder(tmp_path: Path, index: Index) -> None:
    def meanwhile(done: int, _total: int) -> None:
        if done == 1:
            with pytest.raises(UserError, match="is being packed by another process"):
                pack(index, tmp_path / "packed")

    assert pack(index, tmp_path / "packed", on_progress=meanwhile).studies == 4


def test_too_little_room_is_said_before_anything_is_written(tmp_path: Path, index: Index) -> None:
    huge = index.images.with_columns(rows=pl.lit(2**30, pl.Int32), columns=pl.lit(2**20, pl.Int32))
    with pytest.raises(UserError, match=r"GB free and packing needs about .* GB; make room"):
        pack(replace(index, images=huge), tmp_path / "packed")
    assert bytes_of(tmp_path / "packed") == {}


def test_a_torn_journal_is_mended(tmp_path: Path, index: Index) -> None:
    folder = tmp_path / "packed"
    pack(index, folder)
    before, journal = bytes_of(folder), folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], b'{"study_id": garbage\n', lines[3], lines[4][:50]]))
    assert pack(index, folder).kept == 2
    assert bytes_of(folder) == before


def test_names_that_are_no_file_names_are_hashed() -> None:
    assert shard_name("ID_0f").endswith("/ID_0f.shard")
    for odd in ("../../etc/passwd", ".", "a/b", "", "ü", "x" * 300):
        folder, name = shard_name(odd).split("/")
        assert len(folder) == 2
        assert len(name) == 64 + len(".shard")


_KILLED = """
import sys, time
from pathlib import Path
from training.cases.index import read_index
from training.packed.pack import pack

def show(done, total):
    print(done, flush=True)
    if done == 2:
        (Path(sys.argv[2]) / "3f").mkdir(exist_ok=True)
        (Path(sys.argv[2]) / "3f" / "half.shard.partial").write_bytes(b"half")
        time.sleep(60)

if __name__ == "__main__":
    pack(read_index(Path(sys.argv[1])), Path(sys.argv[2]), on_progress=show)
"""


def test_a_packing_that_was_killed_goes_on_to_the_same_bytes(tmp_path: Path, index: Index) -> None:
    write_index(tmp_path / "index.parquet", index)
    killed = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path / "index.parquet"), str(tmp_path / "packed")],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert killed.stdout is not None
    while killed.stdout.readline().strip() != "2":
        assert killed.poll() is None
    while not list((tmp_path / "packed").rglob("*.partial")):
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    with pytest.raises(UserError, match="packing has not ended; run `ichd data pack` again"):
        open_packed(tmp_path / "packed")

    assert pack(index, tmp_path / "packed").kept == 2
    pack(index, tmp_path / "straight")
    assert bytes_of(tmp_path / "packed") == bytes_of(tmp_path / "straight")


def test_several_processes_write_the_same(tmp_path: Path, index: Index) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert pack(index, one).data_sha256 == pack(index, two, processes=2).data_sha256
    assert bytes_of(one) == bytes_of(two)
