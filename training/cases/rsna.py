"""The RSNA 2019 data as it is downloaded: `ID_*.dcm`, and `stage_2_train.csv` beside their folder."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from ichd.domain.errors import UserError
from training.cases.finishing import finished
from training.cases.headers import OnProgress, read_header_table
from training.cases.index import Index
from training.cases.joining import labelled, unlabelled
from training.cases.labels import read_rsna_labels
from training.cases.leaving import patients_named, repeated_images_left_out
from training.cases.order import ordered
from training.cases.splits import SplitRule, split

IMAGES = "stage_2_train"
LABELS = "stage_2_train.csv"
_ALL_TEST: Mapping[str, Any] = {"rule": "all are the test set"}


def index_rsna(
    folder: Path,
    *,
    labels: Path | None = None,
    rule: SplitRule | None = None,
    without_labels: bool = False,
    processes: int | None = None,
    on_progress: OnProgress = lambda _done, _all: None,
) -> Index:
    """Index the competition's images: those of `folder/stage_2_train` where there is such a folder, else of `folder`.

    `labels` is looked for in `folder` and beside it. With `without_labels` (the images of a submission, whose labels
    nobody has) all images are the test set, and none is left out for want of a label.

    Each image is a slab of its own, and all images of a study are its scan: the data have one series a study, and
    their headers no thickness.

    Raises:
        UserError: there are no images or no labels, or the labels can't be read.
    """
    rule = rule or SplitRule()
    root = folder / IMAGES if (folder / IMAGES).is_dir() else folder
    paths = sorted(_images(root))
    if not paths:
        raise UserError(f"{root} holds no .dcm file; name the folder that {LABELS} and {IMAGES}/ lie in")
    beside = None if without_labels else labels or _labels_beside(root)
    table = None if beside is None else read_rsna_labels(beside)
    images = read_header_table(paths, processes=processes, on_progress=on_progress)
    # The file's name is the image's identifier, and all that is left of one that can't be read.
    stem = pl.col("path").str.extract(r"([^/\\]+)\.dcm$")
    images, nameless = patients_named(images.with_columns(image_id=pl.col("image_id").fill_null(stem)))
    images = repeated_images_left_out(images)
    said: Mapping[str, Any] = {}
    if table is None:
        images = unlabelled(images)
    else:
        images, said = labelled(images, table, whole_studies=False)
    images = ordered(images, averaged=False)
    if table is None:
        images, how = images.with_columns(split=pl.lit("test")), _ALL_TEST
    else:
        images, how = split(images, rule)
    source = {"layout": "rsna", "folder": str(root.resolve()), "labels": None if table is None else str(beside)}
    return finished(images, source=source, labels=said, split=how, studies_without_patient_id=nameless)


def _images(root: Path) -> Iterator[Path]:
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; name the one that {LABELS} and {IMAGES}/ lie in")
    for folder, _, names in os.walk(root.resolve()):
        yield from (Path(folder) / name for name in names if name.lower().endswith(".dcm"))


def _labels_beside(root: Path) -> Path:
    for place in (root, root.parent):
        if (place / LABELS).is_file():
            return place / LABELS
    raise UserError(f"no {LABELS} in {root} nor beside it; name the file with --labels")
