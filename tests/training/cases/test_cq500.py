"""CQ500: three readers, columns in an order of their own, names in several spellings."""

import csv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from training.cases.cq500 import DamagedArchive, Scan, find_cq500
from training.cases.cq500_reads import CODES, Read, read_predictions, read_reads, study_name

_CODES = ("ICH", "IPH", "IVH", "SDH", "EDH", "SAH")

Votes = dict[str, dict[str, tuple[int, int, int]]]


def _write_reads(path: Path, votes: Votes, order: tuple[str, ...] = _CODES) -> Path:
    header = ["name", "Category", *(f"R{r}:{code}" for r in (1, 2, 3) for code in (*order, "MidlineShift"))]
    rows = [
        [name, "B1", *(v for r in range(3) for v in (*(of.get(code, (0, 0, 0))[r] for code in order), 1))]
        for name, of in votes.items()
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=3, max_size=3))
def test_the_truth_is_what_two_of_three_readers_say(votes: list[list[bool]]) -> None:
    truth_C = Read(name="CQ500-CT-0", category="B1", votes_RC=np.array(votes)).truth_C
    for c in range(6):
        a, b, d = (row[c] for row in votes)
        assert truth_C[c] == ((a and b) or (a and d) or (b and d))


@given(st.permutations(_CODES))
def test_columns_are_found_by_name_in_any_order(order: list[str]) -> None:
    import tempfile

    votes: Votes = {"CQ500-CT-7": {"ICH": (1, 1, 0), "EDH": (1, 1, 1), "SAH": (1, 0, 0)}}
    with tempfile.TemporaryDirectory() as place:
        (read,) = read_reads(_write_reads(Path(place) / "reads.csv", votes, tuple(order))).rows
    assert dict(zip(CLASSES, read.truth_C.tolist(), strict=True)) == {
        "any": True, "intraparenchymal": False, "intraventricular": False, "subarachnoid": False, "subdural": False,
        "epidural": True,
    }  # fmt: skip


def test_a_kind_without_a_haemorrhage_is_counted_as_a_contradiction_and_kept(tmp_path: Path) -> None:
    votes: Votes = {"CQ500-CT-1": {"ICH": (1, 0, 0), "SDH": (1, 1, 0)}, "CQ500-CT-2": {"ICH": (1, 1, 0)}}
    reads = read_reads(_write_reads(tmp_path / "reads.csv", votes))
    assert reads.contradictions == ("CQ500-CT-1",)
    assert reads.positives["subdural"] == 1
    assert not reads.is_published


@pytest.mark.parametrize("text", ["CQ500-CT-12", "CQ500CT12", "cq500_ct_012", " 12 "])
def test_a_study_has_one_name_however_it_is_spelt(text: str) -> None:
    assert study_name(text) == "CQ500-CT-12"


def test_what_names_no_study_has_no_name() -> None:
    assert study_name("Mean") is None


def test_the_comparator_is_read_past_extra_columns_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "prediction_probabilities.csv"
    path.write_text(
        "MassEffect,SAH,EDH,probs(SDH),IVH,IPH,ICH,name\n0.9,0.6,0.5,0.4,0.3,0.2,0.1,CQ500CT3\n", encoding="utf-8-sig"
    )
    # In the order of the classes: any, intraparenchymal, intraventricular, subarachnoid, subdural, epidural.
    assert read_predictions(path).p_C["CQ500-CT-3"].tolist() == [0.1, 0.2, 0.3, 0.6, 0.4, 0.5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,ICH,IPH,IVH,SDH,EDH\nCQ500-CT-0,0,0,0,0,0\n", "no column SAH"),
        ("name,ICH,IPH,IVH,SDH,EDH,p SAH,q SAH\nCQ500-CT-0,0,0,0,0,0,0,0\n", "2 columns that may be SAH"),
        ("name,ICH,IPH,IVH,SDH,EDH,SAH\nCQ500-CT-0,0,0,0,0,0,nan\n", "where a probability should stand"),
        ("name,ICH,IPH,IVH,SDH,EDH,SAH\nCQ500-CT-0,0,0,0,0,0,0\n0,0,0,0,0,0,0\n", "has a row already"),
        ("name,ICH,IPH,IVH,SDH,EDH,SAH\nMean,0,0,0,0,0,0\n", "names no study"),
        ("name,ICH,ICH,IPH,IVH,SDH,EDH,SAH\n", "twice"),
        ("", "no row"),
    ],
)
def test_a_file_that_could_be_misread_is_not_read(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "prediction_probabilities.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        read_predictions(path)


def test_a_vote_is_0_or_1(tmp_path: Path) -> None:
    path = _write_reads(tmp_path / "reads.csv", {"CQ500-CT-1": {"ICH": (1, 2, 0)}})
    with pytest.raises(UserError, match="CQ500-CT-1 has '2' in R2:ICH"):
        read_reads(path)


def test_scans_and_reads_that_have_no_partner_are_named(tmp_path: Path) -> None:
    _write_reads(tmp_path / "reads.csv", {f"CQ500-CT-{n}": {} for n in (10, 2, 4)})
    (tmp_path / "CQ500CT2 CQ500CT2" / "Unknown Study").mkdir(parents=True)
    (tmp_path / "part 1").mkdir()
    for name in ("CQ500CT10.zip", "CQ500-CT-2.zip", "CQ500CT9.zip"):
        (tmp_path / "part 1" / name).write_bytes(b"")
    found = find_cq500(tmp_path)
    assert [scan.name for scan, _ in found.cases] == ["CQ500-CT-2", "CQ500-CT-10"]
    assert found.without_read == ("CQ500-CT-9",)
    assert found.without_scan == ("CQ500-CT-4",)
    assert found.doubles == ("CQ500-CT-2",)
    assert found.scans[0].path.is_dir()


def test_a_folder_without_studies_or_reads_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study of CQ500"):
        find_cq500(tmp_path)
    (tmp_path / "CQ500CT0 CQ500CT0").mkdir()
    with pytest.raises(UserError, match=r"reads\.csv is missing"):
        find_cq500(tmp_path)


def test_a_zip_is_unpacked_for_as_long_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "CQ500CT0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("CQ500CT0 CQ500CT0/Unknown Study/CT Plain/CT000000.dcm", b"x")
    with Scan(name="CQ500-CT-0", path=path).folder() as folder:
        assert [p.name for p in folder.rglob("*.dcm")] == ["CT000000.dcm"]
    assert not folder.exists()


def test_a_zip_that_is_cut_short_says_so(tmp_path: Path) -> None:
    path = tmp_path / "CQ500CT0.zip"
    path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DamagedArchive), Scan(name="CQ500-CT-0", path=path).folder():
        pass


def test_each_class_has_its_code() -> None:
    assert tuple(CODES) == CLASSES
    assert sorted(CODES.values()) == sorted(_CODES)
