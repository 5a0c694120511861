"""The index of the RSNA layout: every image has a row, and every oddity a name."""

import shutil
from pathlib import Path

import polars as pl
import pydicom
import pytest

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from training.cases.index import SCHEMA, Index, read_index, write_index
from training.cases.rsna import index_rsna
from training.cases.summary import sections

from .conftest import STUDIES
from .files import rewrite


@pytest.fixture
def copy(layout: Path, tmp_path: Path) -> Path:
    """A layout to spoil."""
    return Path(shutil.copytree(layout, tmp_path / "copy"))


def images_in(layout: Path) -> list[Path]:
    return sorted((layout / "stage_2_train").iterdir())


def test_every_file_has_a_row_and_every_used_row_all_it_needs(layout: Path, index: Index) -> None:
    assert sorted(index.images["path"]) == [str(path) for path in images_in(layout)]
    assert dict(index.images.schema) == dict(SCHEMA)
    needed = [name for name in SCHEMA if name not in {"thickness_mm", "manufacturer", "left_out"}]
    assert index.used.select(needed).null_count().row(0) == (0,) * len(needed)
    assert index.used["study_id"].n_unique() == STUDIES


def test_used_images_stand_in_order_and_the_others_at_the_end(index: Index) -> None:
    assert index.images["left_out"].is_null().to_list() == sorted(index.images["left_out"].is_null(), reverse=True)
    for _, study in index.used.group_by("study_id", maintain_order=True):
        assert study["position"].to_list() == list(range(len(study)))
        assert study["slab"].to_list() == list(range(len(study)))
        assert study["z_mm"].is_sorted()
        assert study["split"].n_unique() == 1


def test_positions_are_those_of_the_headers(index: Index) -> None:
    """Phantoms' gantries may be tilted, so an order by z alone is compared within a study only."""
    with pydicom.config.disable_value_validation():
        for _, study in index.used.group_by("study_id"):
            z_mm = [float(pydicom.dcmread(path).ImagePositionPatient[2]) for path in study["path"]]
            assert z_mm == sorted(z_mm)


def test_the_short_image_is_left_out_with_its_figures(index: Index) -> None:
    gone = index.images.filter(pl.col("left_out").is_not_null())
    assert gone["left_out"].to_list() == ["pixel data too short: 2400 of 8192 bytes"]
    assert gone.select("position", "slab", "split", "label_level").row(0) == (None,) * 4
    assert gone["any"][0] is not None, "what is known of it stays"


def test_the_report_counts_what_the_layout_has(index: Index) -> None:
    counts, labels = index.facts["counts"], index.facts["labels"]
    assert labels["repeated_rows"] == 24
    assert labels["of_repeated_rows"] == 4
    assert counts["left_out"]["pixel data too short"]["images"] == 1
    assert counts["spacing"]["studies_with_duplicate_positions"] == 1
    assert counts["spacing"]["studies_with_uneven_spacing"] >= 1
    assert len(counts["encodings"]) == 6
    assert counts["prevalence"]["any"]["images"] == {"positive": index.used["any"].sum(), "known": len(index.used)}
    studies = index.used.group_by("study_id").agg(pl.col(CLASSES).max())
    for name in CLASSES:
        assert counts["prevalence"][name]["studies"] == {"positive": studies[name].sum(), "known": STUDIES}
    assert sum(side["studies"] for side in counts["splits"].values()) == STUDIES
    assert sum(found["images"] for found in counts["encodings"].values()) == len(index.used)


def test_the_report_is_shown_as_tables(index: Index) -> None:
    shown = {section.title: section for section in sections(index.facts)}
    assert list(shown) == ["Found", "Left out", "Prevalence", "Pixel encodings", "Splits"]
    assert ("repeated label rows", "24", "of 4 images") in shown["Found"].rows
    assert shown["Splits"].note == "by patient, seed 0; too few patients: test had none by chance and was given one"
    for section in shown.values():
        assert {len(row) for row in section.rows} == {len(section.columns)}


def test_an_index_is_kept_as_it_is(index: Index, tmp_path: Path) -> None:
    write_index(tmp_path / "rsna.parquet", index)
    again = read_index(tmp_path / "rsna.parquet")
    assert again.images.equals(index.images)
    assert again.facts == index.facts


def test_the_same_data_give_the_same_index(layout: Path, index: Index) -> None:
    assert index_rsna(layout / "stage_2_train").images.equals(index.images), "the folder of the images will do as well"


def test_phantoms_are_known_as_phantoms_wherever_the_index_begins(layout: Path, index: Index) -> None:
    assert index.facts["source"]["synthetic"] is True
    (layout / "SYNTHETIC").rename(layout / "kept")
    try:
        assert index_rsna(layout).facts["source"]["synthetic"] is False
    finally:
        (layout / "kept").rename(layout / "SYNTHETIC")


def test_a_label_without_an_image_and_an_image_without_a_label_are_named(copy: Path) -> None:
    first, second = images_in(copy)[:2]
    first.unlink()
    kept = [line for line in (copy / "stage_2_train.csv").read_text().splitlines() if second.stem not in line]
    (copy / "stage_2_train.csv").write_text("\n".join(kept) + "\n")
    index = index_rsna(copy)
    assert index.facts["labels"]["without_image"] == 1
    assert index.facts["labels"]["first_without_image"] == [first.stem]
    assert index.facts["labels"]["first_images_without_label"] == [second.stem]
    assert index.images.filter(pl.col("image_id") == second.stem)["left_out"].to_list() == ["no label"]


def test_contradicting_labels_leave_their_image_out(copy: Path) -> None:
    image = images_in(copy)[0].stem
    with (copy / "stage_2_train.csv").open("a") as file:
        file.write(f"{image}_epidural,0\n{image}_epidural,1\n")
    left_out = index_rsna(copy).images.filter(pl.col("image_id") == image)["left_out"].to_list()
    assert left_out == ["contradicting labels: epidural"]


def test_a_file_that_is_no_dicom_keeps_its_name_and_its_labels(copy: Path) -> None:
    path = images_in(copy)[0]
    path.write_bytes(b"not here")
    (row,) = index_rsna(copy).images.filter(pl.col("image_id") == path.stem).to_dicts()
    assert row["left_out"].startswith("not a whole DICOM file")
    assert row["any"] is not None


def test_an_image_that_stands_there_twice_counts_once(copy: Path) -> None:
    path = images_in(copy)[0]
    shutil.copy(path, path.with_name("ID_fffffffff.dcm"))
    index = index_rsna(copy)
    again = index.images.filter(pl.col("path").str.ends_with("ID_fffffffff.dcm"))
    assert again["left_out"].to_list() == [f"the same image is there already: {path.resolve()}"]


def test_a_study_of_one_slice_is_used_and_named(copy: Path) -> None:
    path = images_in(copy)[0]
    rewrite(path, StudyInstanceUID="ID_lonely000")
    spacing = index_rsna(copy).facts["counts"]["spacing"]
    assert spacing["studies_with_one_slice"] == 1
    assert spacing["first_studies_with_one_slice"] == ["ID_lonely000"]


def test_a_study_without_patient_is_a_patient_of_its_own(copy: Path) -> None:
    rewrite(images_in(copy)[0], StudyInstanceUID="ID_nobody0000", PatientID="")
    index = index_rsna(copy)
    assert index.facts["counts"]["studies_without_patient_id"] == 1
    assert index.used.filter(pl.col("study_id") == "ID_nobody0000")["patient_id"].to_list() == ["ID_nobody0000"]


def test_images_of_a_submission_need_no_labels(layout: Path) -> None:
    index = index_rsna(layout, without_labels=True)
    assert set(index.used["split"]) == {"test"}
    assert index.used["any"].null_count() == len(index.used)
    assert list(sections(index.facts))[-1].note == "all are the test set"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "is not a folder"),
        (lambda folder: folder.mkdir(), "holds no .dcm file"),
        (lambda folder: (folder.mkdir(), (folder / "a.dcm").write_bytes(b"")), "no stage_2_train.csv"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, make: object, said: str) -> None:
    make(tmp_path / "data")  # type: ignore[operator]
    with pytest.raises(UserError, match=said):
        index_rsna(tmp_path / "data")


def test_where_nothing_can_be_used_the_commonest_reason_is_named(copy: Path) -> None:
    for path in images_in(copy):
        path.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"can be used; .* of them: not a whole DICOM file"):
        index_rsna(copy)
