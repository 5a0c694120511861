"""Splits by patient: nobody on two sides, the same whatever else there is, and the paper's own by a list."""

import hashlib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.errors import UserError
from training.cases.index import Index
from training.cases.rsna import index_rsna
from training.cases.splits import SHARED, SplitRule, draw, read_image_ids, split

Patients = st.lists(st.text("0123456789abcdef", min_size=1, max_size=6), min_size=1, max_size=60, unique=True)


def images_of(patients: list[str], *, studies_each: int = 2) -> pl.DataFrame:
    rows = [
        {"patient_id": p, "study_id": f"{p}.{s}", "image_id": f"{p}.{s}.1", "left_out": None}
        for p in patients
        for s in range(studies_each)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("patient_id", "study_id", "image_id", "left_out"), pl.String))


def splits_of(images: pl.DataFrame, rule: SplitRule) -> dict[str, set[str]]:
    done, _ = split(images, rule)
    return {name: set(done.filter(pl.col("split") == name)["patient_id"]) for name in ("train", "valid", "test")}


@given(Patients, st.integers(0, 2**31))
def test_every_patient_stands_on_one_side(patients: list[str], seed: int) -> None:
    found = splits_of(images_of(patients), SplitRule(seed=seed))
    assert sorted(patient for side in found.values() for patient in side) == sorted(patients)


@given(st.lists(st.integers(0, 10**9), min_size=3, max_size=40, unique=True), st.randoms())
def test_the_order_of_files_does_not_matter(numbers: list[int], random: object) -> None:
    patients = [f"P{n}" for n in numbers]
    mixed = list(patients)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert splits_of(images_of(patients), SplitRule(seed=3)) == splits_of(images_of(mixed), SplitRule(seed=3))


def test_patients_stay_where_they_were_when_others_come() -> None:
    few, many = [f"P{n}" for n in range(400)], [f"P{n}" for n in range(800)]
    before, after = splits_of(images_of(few), SplitRule()), splits_of(images_of(many), SplitRule())
    for name, side in before.items():
        assert side <= after[name]


def test_shares_are_kept_and_another_seed_is_another_split() -> None:
    patients = [f"P{n}" for n in range(20_000)]
    found = splits_of(images_of(patients, studies_each=1), SplitRule(seed=1, valid=0.05, test=0.10))
    # Three standard deviations of a binomial of 20,000.
    assert len(found["test"]) == pytest.approx(2000, abs=130)
    assert len(found["valid"]) == pytest.approx(1000, abs=95)
    assert found["test"] != splits_of(images_of(patients, studies_each=1), SplitRule(seed=2))["test"]


def test_a_draw_is_the_first_eight_bytes_of_a_digest() -> None:
    """Written down, so that splits of stored indices stay reproducible."""
    digest = hashlib.sha256(b"7/ID_0123abcde").hexdigest()
    assert draw(7, "ID_0123abcde") == int(digest[:16], 16) / 2**64


@pytest.mark.parametrize("count", range(3, 12))
def test_a_handful_of_patients_still_has_every_split(count: int) -> None:
    found = splits_of(images_of([f"P{n}" for n in range(count)]), SplitRule(seed=count))
    assert all(found.values())


def test_shares_that_leave_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="nothing to learn from"):
        SplitRule(valid=0.5, test=0.5)


def test_the_papers_split_is_by_study_of_the_listed_images(layout: Path) -> None:
    listed = layout / "stage_1_test_ids.txt"
    index = index_rsna(layout, rule=SplitRule(stage1_test=listed))
    test = index.used.filter(pl.col("split") == "test")
    assert set(test["image_id"]) <= set(listed.read_text().split())
    assert index.facts["split"]["shared_patients"] == 1
    assert index.facts["split"]["listed_images_not_here"] == 0
    shared = set(test["patient_id"]) & set(index.used.filter(pl.col("split") != "test")["patient_id"])
    assert len(shared) == 1, "kept, as in the paper"


def test_shared_patients_can_be_left_out_of_what_is_learnt_from(layout: Path, index: Index) -> None:
    listed = layout / "stage_1_test_ids.txt"
    dropped = index_rsna(layout, rule=SplitRule(stage1_test=listed, shared_patients="drop"))
    test = dropped.used.filter(pl.col("split") == "test")
    assert not set(test["patient_id"]) & set(dropped.used.filter(pl.col("split") != "test")["patient_id"])
    gone = dropped.images.filter(pl.col("left_out") == SHARED)
    assert set(gone["patient_id"]) <= set(test["patient_id"])
    assert len(gone) + len(dropped.used) == len(index.used)


@pytest.mark.parametrize(
    "text",
    [
        "ID_a\nID_b\n",
        "ID\nID_a_any\nID_a_epidural\nID_b_any\n",
        '\ufeff"ID","Label"\n"ID_a_any",0.5\n"ID_b_any",0.5\n',
        "number,ID\n1,ID_a\n2,ID_b\n\n",
    ],
)
def test_a_list_of_images_has_several_forms(tmp_path: Path, text: str) -> None:
    (tmp_path / "ids.txt").write_text(text, encoding="utf-8")
    assert read_image_ids(tmp_path / "ids.txt") == {"ID_a", "ID_b"}


def test_a_list_that_says_nothing_of_these_data_is_refused(layout: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("ID_ffffffffg\n")
    with pytest.raises(UserError, match="none of the 1 images"):
        index_rsna(layout, rule=SplitRule(stage1_test=tmp_path / "other.txt"))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UserError, match="names no image"):
        read_image_ids(tmp_path / "empty.txt")
    with pytest.raises(UserError, match="can't be read"):
        read_image_ids(tmp_path / "missing.txt")
