"""A bundle in front of studies: the shipped demonstration model reads small phantoms."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.phantom import PhantomRecipe, render
from ichd.vision.bundle import demo_bundle, load_bundle
from ichd.vision.engines.eager import EagerEngine
from tests.training.evaluation.made import made_readings
from training.evaluation.figures import read_report
from training.evaluation.rsna import (
    PackedSplit,
    SplitReading,
    make_folder,
    mark_shared,
    read_split,
    report_on,
    write_all,
)
from training.evaluation.submission import PREVALENCE, images_of, read_wanted, write_submission
from training.packed.study import PackedStudy


@dataclass(frozen=True, kw_only=True)
class StudyInMemory(PackedStudy):
    """A study that no shard holds."""

    hu_SHW: Any = field(repr=False)

    def hu(self, slices: Sequence[int] | None = None) -> Any:
        return self.hu_SHW if slices is None else self.hu_SHW[list(slices)]


def study_of(seed: int, *, split: str = "test", patient: str | None = None) -> StudyInMemory:
    phantom = render(PhantomRecipe(seed=seed, rows=64, slices=6, voxel_mm=4.0))
    labels_SC = np.asarray(phantom.presence_SC, dtype=np.int8)
    return StudyInMemory(
        study_id=f"ID_s{seed}",
        patient_id=patient or f"ID_p{seed}",
        split=split,  # type: ignore[arg-type]
        path=Path("memory"),
        sha256="",
        image_ids=tuple((f"ID_{seed}a{k}",) for k in range(6)),
        z_mm=tuple(float(z) for z in phantom.z_mm),
        rows=64,
        columns=64,
        pixel_spacing_mm=(phantom.pixel_spacing_mm, phantom.pixel_spacing_mm),
        head_centre=(32.0, 32.0),
        labels_SC=labels_SC,
        study_labels_C=np.asarray(labels_SC.max(axis=0), dtype=np.int8),
        label_level="slice",
        groups={"encoding": "16-bit signed -1024"},
        hu_SHW=np.asarray(phantom.hu_SHW, dtype=np.int16),
    )


@pytest.fixture(scope="module")
def engine() -> EagerEngine:
    torch.set_num_threads(1)
    return EagerEngine(load_bundle(demo_bundle()), device="cpu")


@pytest.fixture(scope="module")
def studies() -> tuple[StudyInMemory, ...]:
    return tuple(study_of(2**41 + k) for k in range(3))


@pytest.fixture(scope="module")
def read(engine: EagerEngine, studies: tuple[StudyInMemory, ...]) -> SplitReading:
    shared = study_of(2**41 + 9, split="train", patient=studies[0].patient_id)
    split = PackedSplit(studies=studies, name="test", source="packed", data_sha256="cd" * 32)
    return read_split(engine, split, everyone=(*studies, shared), flip=True)


def rows_of(path: Path) -> dict[str, float]:
    with path.open(encoding="utf-8") as file:
        return {row["ID"]: float(row["Label"]) for row in csv.DictReader(file)}


def test_a_split_becomes_a_folder_of_page_figures_and_submission(
    engine: EagerEngine, read: SplitReading, tmp_path: Path
) -> None:
    report = report_on(engine, read, other=read, rounds=20)
    paths, submission = write_all(tmp_path / "out", report, read)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "evaluation.html",
        "evaluation.json",
        "submission.csv",
    ]
    assert read_report(paths["figures"]) == report
    assert (submission.images, submission.guessed) == (18, ())
    assert report.difference is not None
    assert all(one is None or one.p_value == 1 for one in report.difference.by_class.values())


def test_a_folder_that_can_t_be_is_named_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="name another with --out"):
        make_folder(tmp_path / "file" / "out")


def test_the_mirror_s_cost_is_measured(read: SplitReading) -> None:
    assert read.seconds_a_scan > 0
    assert read.seconds_a_scan_flipped is not None
    assert read.seconds_a_scan_flipped > 0


def test_a_demonstration_model_and_shared_patients_are_named_as_such(engine: EagerEngine, read: SplitReading) -> None:
    report = report_on(engine, read, rounds=20)
    said = " ".join(report.caveats)
    assert "nothing here says how it reads patients" in said
    assert "1 scan is of patients that stand in another split" in said
    assert report.evaluation.log_loss_unshared is not None


def test_scans_that_the_model_may_know_are_named(engine: EagerEngine, read: SplitReading) -> None:
    seen = replace(read, subject=replace(read.subject, split="train"))
    assert "may have learnt from these scans" in " ".join(report_on(engine, seen, rounds=20).caveats)


def test_an_empty_split_is_an_error(engine: EagerEngine) -> None:
    with pytest.raises(UserError, match="'valid'; name another"):
        read_split(engine, PackedSplit(studies=(), name="valid", source="packed", data_sha256=""))


def test_patients_of_one_split_alone_need_no_group(studies: tuple[StudyInMemory, ...]) -> None:
    readings = made_readings(4)
    assert mark_shared(readings, "test", studies) == tuple(readings)


def test_the_submission_has_six_rows_an_image_in_the_sample_s_order(tmp_path: Path) -> None:
    readings = made_readings(4)
    submission = write_submission(tmp_path / "submission.csv", readings)
    rows = rows_of(submission.path)
    assert len(rows) == 6 * sum(len(one.z_mm) for one in readings)
    first = readings[0].image_ids[0][0]
    ordered = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
    assert list(rows)[:6] == [f"{first}_{name}" for name in ordered]
    for one in readings:
        for (image,), p_C in zip(one.image_ids, one.p_SC, strict=True):
            assert [rows[f"{image}_{name}"] for name in CLASSES] == pytest.approx(p_C, abs=1e-9)


def test_averaged_images_share_their_slice_s_row(tmp_path: Path) -> None:
    reading = made_readings(1)[0]
    pairs = tuple((f"ID_{k}a", f"ID_{k}b") for k in range(len(reading.z_mm)))
    rows = rows_of(write_submission(tmp_path / "s.csv", [replace(reading, image_ids=pairs)]).path)
    assert rows["ID_0a_any"] == rows["ID_0b_any"] == pytest.approx(reading.p_SC[0, 0], abs=1e-9)


def test_an_image_that_nobody_read_has_the_prevalence_and_is_named(tmp_path: Path) -> None:
    reading = made_readings(1)[0]
    sample = tmp_path / "sample.csv"
    asked = ("ID_lost", reading.image_ids[0][0])
    sample.write_text("ID,Label\n" + "".join(f"{one}_{name},0.5\n" for one in asked for name in CLASSES))
    wanted = read_wanted(sample)
    assert wanted == asked
    submission = write_submission(tmp_path / "s.csv", [reading], wanted)
    rows = rows_of(submission.path)
    assert (submission.images, submission.guessed, submission.unasked) == (2, ("ID_lost",), len(reading.z_mm) - 1)
    assert {name: rows[f"ID_lost_{name}"] for name in CLASSES} == pytest.approx(dict(PREVALENCE))


def test_images_that_packing_left_out_are_asked_for_with_the_rest(
    studies: tuple[StudyInMemory, ...], tmp_path: Path
) -> None:
    assert len(images_of(tmp_path, studies)) == 18
    lost = {"study_id": [studies[0].study_id, "ID_elsewhere", studies[1].study_id], "image_id": ["ID_x", "ID_y", None]}
    pl.DataFrame(lost).write_parquet(tmp_path / "left_out.parquet")
    assert images_of(tmp_path, studies)[18:] == ("ID_x",)


def test_a_damaged_table_of_what_was_left_out_is_named(studies: tuple[StudyInMemory, ...], tmp_path: Path) -> None:
    (tmp_path / "left_out.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"left_out.parquet is no whole parquet file"):
        images_of(tmp_path, studies)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n"])
def test_another_file_is_no_sample_submission(tmp_path: Path, text: str) -> None:
    (tmp_path / "sample.csv").write_text(text)
    with pytest.raises(UserError, match="sample submission"):
        read_wanted(tmp_path / "sample.csv")
