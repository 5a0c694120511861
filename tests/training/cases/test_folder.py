"""A site's own studies: any files in any order, one series a study as the daemon chooses, thin slices in slabs."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pydicom
import pytest

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from training.cases.folder import index_folder
from training.cases.index import Index

from .files import SLICES, rewrite, study_uid, write_study


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients, three studies."""
    root = tmp_path_factory.mktemp("site")
    write_study(root / "a", seed=11, patient_id="P1")
    write_study(root / "b", seed=12, patient_id="P1")
    write_study(root / "c", seed=13, patient_id="P2")
    return root


@pytest.fixture
def site(studies: Path, tmp_path: Path) -> Path:
    """The same, to spoil."""
    return Path(shutil.copytree(studies, tmp_path / "site"))


def index_of(site: Path, csv: str) -> Index:
    path = site.parent / "labels.csv"
    path.write_text(csv)
    return index_folder(site, labels=path)


def by_study(site: Path) -> str:
    values = ("1,1,0", "0,,", "1,,")
    rows = (f"{study_uid(site / name)},{value}" for name, value in zip("abc", values, strict=True))
    return "study,any,subdural,epidural\n" + "\n".join(rows) + "\n"


def test_studies_are_labelled_as_wholes(site: Path) -> None:
    index = index_of(site, by_study(site))
    assert len(index.used) == 3 * SLICES
    assert set(index.used["label_level"]) == {"study"}
    a = index.used.filter(pl.col("study_id") == study_uid(site / "a"))
    assert a.select(CLASSES).unique().row(0) == (1, None, None, None, 1, 0)
    b = index.used.filter(pl.col("study_id") == study_uid(site / "b"))
    assert b.select(CLASSES).unique().row(0) == (0,) * 6
    counts = index.facts["counts"]
    assert counts["prevalence"]["any"]["images"]["known"] == 0, "nobody has said it of an image"
    assert counts["prevalence"]["any"]["studies"] == {"positive": 2, "known": 3}


def test_phantoms_in_a_folder_are_known_by_their_maker(site: Path) -> None:
    assert index_of(site, by_study(site)).facts["source"]["synthetic"] is True


def test_studies_of_a_patient_stay_together(site: Path) -> None:
    index = index_of(site, by_study(site))
    assert index.used.group_by("patient_id").agg(pl.col("split").n_unique())["split"].to_list() == [1, 1]


def test_images_without_a_label_stay_in_a_labelled_study(site: Path) -> None:
    uids = write_study(site / "d", seed=14)
    index = index_of(site, "image,any\n" + "".join(f"{uid},0\n" for uid in uids[:5]))
    used = index.used
    assert len(used) == SLICES, "the others' studies have no label at all"
    assert used["any"].to_list() == [0] * 5 + [None] * (SLICES - 5)
    assert set(used["label_level"]) == {"slice"}
    assert index.facts["counts"]["left_out"]["no label"]["images"] == 3 * SLICES
    assert index.facts["labels"]["images_without_label"] == 4 * SLICES - 5


def test_the_series_is_that_of_the_daemon(site: Path) -> None:
    """Given the same head a second time with a bone kernel, and a localizer."""
    for number, path in enumerate(sorted((site / "a").iterdir())):
        uid = f"1.2.3.{number}"
        sharp: dict[str, Any] = {
            "ConvolutionKernel": "H70h",
            "SeriesDescription": "Head bone",
            "SeriesInstanceUID": "1.2.3",
        }
        rewrite(path, site / "sharp" / path.name, SOPInstanceUID=uid, **sharp)
    scout: dict[str, Any] = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesInstanceUID": "1.2.4"}
    rewrite(site / "a" / "001.dcm", site / "scout.dcm", SOPInstanceUID="1.2.4.1", **scout)
    index = index_of(site, by_study(site))
    assert len(index.used) == 3 * SLICES
    assert not set(index.used["series_id"]) & {"1.2.3", "1.2.4"}
    reasons = dict(index.images.filter(pl.col("left_out").is_not_null()).select("series_id", "left_out").iter_rows())
    assert reasons["1.2.4"].startswith("series not read, localizer")
    assert reasons["1.2.3"].startswith("series not read, ")


def test_a_labelled_series_goes_before_the_daemons_favourite(site: Path) -> None:
    sharp: dict[str, Any] = {"ConvolutionKernel": "H50s", "SeriesDescription": "Head", "SeriesInstanceUID": "1.2.3"}
    for number, path in enumerate(sorted((site / "a").iterdir())):
        rewrite(path, site / "sharp" / path.name, SOPInstanceUID=f"1.2.3.{number}", **sharp)
    index = index_of(site, "image,any\n" + "".join(f"1.2.3.{number},0\n" for number in range(SLICES)))
    assert set(index.used["series_id"]) == {"1.2.3"}
    assert len(index.used) == SLICES


def test_a_study_that_the_daemon_would_not_read_is_left_out(site: Path) -> None:
    for path in sorted((site / "c").iterdir())[1:]:
        path.unlink()
    left_out = index_of(site, by_study(site)).facts["counts"]["left_out"]
    assert left_out == {"series not read, too few slices": {"images": 1, "first": [_uid(site / "c" / "001.dcm")]}}


def test_thin_slices_form_slabs(tmp_path: Path) -> None:
    site = tmp_path / "site"
    write_study(site / "thin", seed=15, slices=100)
    z_mm = 0.0
    for path in sorted((site / "thin").iterdir()):
        rewrite(
            path,
            ImagePositionPatient=[-100, -100, z_mm],
            SliceThickness=1.0,
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        )
        z_mm += 1.0
    used = index_of(site, f"study,any\n{study_uid(site / 'thin')},0\n").used
    assert used["position"].to_list() == list(range(100))
    assert used["slab"].n_unique() == 20


def test_other_files_are_rows_with_a_reason(site: Path) -> None:
    (site / "README.txt").write_text("exported on Monday")
    index = index_of(site, by_study(site))
    found = index.images.filter(pl.col("path").str.ends_with("README.txt"))
    assert found["left_out"].to_list() == ["not a whole DICOM file: InvalidDicomError"]
    assert index.facts["counts"]["left_out"]["not a whole DICOM file"]["first"] == ["README.txt"]


def test_a_label_of_a_study_that_is_not_here_is_named(site: Path) -> None:
    index = index_of(site, by_study(site) + "1.2.3.4,1,,\n")
    assert index.facts["labels"]["first_without_image"] == ["1.2.3.4"]


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    with pytest.raises(UserError, match="holds no file"):
        index_of(tmp_path / "site", "study,any\n1,1\n")


def _uid(path: Path) -> str:
    return str(pydicom.dcmread(path).SOPInstanceUID)
