"""Labels from CSV files: what is said once, twice, wrongly, or not at all."""

import csv
from collections import defaultdict
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from training.cases.labels import SUBTYPES, Labels, completed, read_rsna_labels, read_site_labels

BLEED = {name: int(name in {"any", "subdural"}) for name in CLASSES}


def rsna(tmp_path: Path, *rows: str) -> Labels:
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(("ID,Label", *rows)) + "\n")
    return read_rsna_labels(path)


def six(image: str, **changed: int) -> list[str]:
    return [f"{image}_{name},{value}" for name, value in {**BLEED, **changed}.items()]


def site(tmp_path: Path, text: str) -> Labels:
    path = tmp_path / "site.csv"
    path.write_text(text)
    return read_site_labels(path)


def row(labels: Labels, key: str) -> dict[str, object]:
    (found,) = labels.table.filter(pl.col("key") == key).to_dicts()
    return found


def test_the_table_says_what_the_file_says(layout: Path) -> None:
    """Against a reading of the file by hand."""
    with (layout / "stage_2_train.csv").open() as file:
        expected: dict[str, dict[str, int]] = defaultdict(dict)
        for line in csv.DictReader(file):
            image, name = line["ID"].rsplit("_", 1)
            expected[image][name] = int(line["Label"])
    labels = read_rsna_labels(layout / "stage_2_train.csv")
    assert {each["key"]: {name: each[name] for name in CLASSES} for each in labels.table.to_dicts()} == expected
    assert labels.table["fault"].null_count() == len(expected)
    assert labels.counts["repeated_rows"] == 24
    assert labels.counts["of_repeated_rows"] == 4
    assert labels.counts["with_unknown_classes"] == 0


def test_rows_that_contradict_each_other_are_a_fault_of_their_image(tmp_path: Path) -> None:
    labels = rsna(tmp_path, *six("ID_a"), "ID_a_epidural,1", *six("ID_b"))
    assert row(labels, "ID_a")["fault"] == "contradicting labels: epidural"
    assert row(labels, "ID_b")["fault"] is None
    assert labels.counts["repeated_rows"] == 0
    assert labels.counts["faults"] == 1


@pytest.mark.parametrize("changed", [{"any": 0}, {"subdural": 0}])
def test_any_is_the_maximum_of_the_subtypes_without_exception(tmp_path: Path, changed: dict[str, int]) -> None:
    labels = rsna(tmp_path, *six("ID_a", **changed))
    assert row(labels, "ID_a")["fault"] == '"any" is not the maximum of the subtypes'


def test_a_missing_row_is_an_unknown_class_and_counted(tmp_path: Path) -> None:
    labels = rsna(tmp_path, *[line for line in six("ID_a") if "epidural" not in line], *six("ID_b"))
    assert row(labels, "ID_a")["epidural"] is None
    assert row(labels, "ID_a")["subdural"] == 1
    assert labels.counts["with_unknown_classes"] == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ID_a_subdurall,0", "did you mean subdural"),
        ("ID_a_subdural,2", "neither 0 nor 1"),
        ("ID_a_subdural,", "neither 0 nor 1"),
        ("nonsense,0", "no class at its end"),
    ],
)
def test_a_row_that_can_not_be_meant_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        rsna(tmp_path, *six("ID_b"), line)


def test_other_columns_and_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="columns a, b"):
        read_rsna_labels(tmp_path / "other.csv")
    with pytest.raises(UserError, match="--labels"):
        read_rsna_labels(tmp_path / "missing.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(UserError, match="can't be read as CSV"):
        read_rsna_labels(tmp_path / "empty.csv")


def test_a_site_labels_images_or_studies(tmp_path: Path) -> None:
    images = site(tmp_path, "image,subdural\n1.2.3,1\n1.2.4,0\n")
    assert images.level == "slice"
    assert row(images, "1.2.3") == {"key": "1.2.3", **dict.fromkeys(CLASSES), "any": 1, "subdural": 1, "fault": None}
    assert row(images, "1.2.4")["any"] is None, "other subtypes are not known"
    studies = site(tmp_path, "study,any,subdural\n1.2,0,\n1.3, 1 ,\n")
    assert studies.level == "study"
    assert all(row(studies, "1.2")[name] == 0 for name in CLASSES), "none is none of all"
    assert row(studies, "1.3")["subdural"] is None


def test_a_site_may_say_the_same_twice_and_not_two_things(tmp_path: Path) -> None:
    labels = site(tmp_path, "study,any,subdural\n1.2,1,1\n1.2,1,\n1.3,1,1\n1.3,1,0\n")
    assert row(labels, "1.2")["fault"] is None
    assert row(labels, "1.2")["subdural"] == 1
    assert row(labels, "1.3")["fault"] == "contradicting labels: subdural"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("study,SDH\n1,1\n", "did you mean"),
        ("study,image,any\n1,1,1\n", "one of `image`"),
        ("uid,any\n1,1\n", "one of `image`"),
        ("study\n1\n", "names no class"),
        ("study,any\n1,yes\n", "write 1, 0 or nothing"),
    ],
)
def test_what_a_site_can_not_have_meant_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        site(tmp_path, text)


@given(st.fixed_dictionaries({name: st.sampled_from([0, 1, None]) for name in CLASSES}))
def test_completing_adds_what_follows_and_nothing_else(values: dict[str, int | None]) -> None:
    """Against the definition: a completion is right in every world that agrees with what was said."""
    schema = {"key": pl.String, **dict.fromkeys(CLASSES, pl.Int8)}
    (done,) = completed(pl.DataFrame([{"key": "x", **values}], schema=schema)).to_dicts()
    worlds = [
        world
        for bits in range(32)
        if (world := _world(bits)) and all(values[name] in {None, world[name]} for name in CLASSES)
    ]
    assert (done["fault"] is not None) == (not worlds)
    for name in CLASSES:
        if values[name] is not None:
            assert done[name] == values[name]
        elif worlds and done[name] is not None:
            assert {world[name] for world in worlds} == {done[name]}
    if worlds and len({world["any"] for world in worlds}) == 1:
        assert done["any"] is not None, "any is always found where it follows"


def _world(bits: int) -> dict[str, int]:
    subtypes = {name: bits >> place & 1 for place, name in enumerate(SUBTYPES)}
    return {"any": max(subtypes.values()), **subtypes}
