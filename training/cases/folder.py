"""A site's own studies: a folder of DICOM files in any order, and a CSV of labels."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ichd.domain.errors import UserError
from training.cases.finishing import finished
from training.cases.headers import OnProgress, read_header_table
from training.cases.index import Index
from training.cases.joining import labelled
from training.cases.labels import Labels, read_site_labels
from training.cases.leaving import patients_named, repeated_images_left_out
from training.cases.order import ordered
from training.cases.series import one_series_a_study
from training.cases.splits import SplitRule, split


def index_folder(
    folder: Path,
    *,
    labels: Path,
    rule: SplitRule | None = None,
    processes: int | None = None,
    on_progress: OnProgress = lambda _done, _all: None,
) -> Index:
    """Index all DICOM files below `folder`; of each study the series that the daemon would read is used.

    `labels` is a CSV as `training.cases.labels.read_site_labels` reads it.

    Raises:
        UserError: there is no file, nothing that can be used, or the labels can't be read.
    """
    paths = sorted(_files(folder))
    if not paths:
        raise UserError(f"{folder} holds no file; name a folder with DICOM files in it, at any depth")
    return index_files(
        paths,
        read_site_labels(labels),
        source={"layout": "folder", "folder": str(folder.resolve()), "labels": str(labels)},
        rule=rule or SplitRule(),
        processes=processes,
        on_progress=on_progress,
    )


def index_files(
    paths: list[Path],
    labels: Labels,
    *,
    source: Mapping[str, Any],
    rule: SplitRule,
    processes: int | None,
    on_progress: OnProgress,
) -> Index:
    """Index files of any studies and series, with the daemon's choice of series and its slabs of thin slices."""
    images = read_header_table(paths, with_facts=True, processes=processes, on_progress=on_progress)
    images, nameless = patients_named(images)
    images = repeated_images_left_out(images)
    images, said = labelled(images, labels, whole_studies=True)
    images = ordered(one_series_a_study(images), averaged=True)
    images, how = split(images, rule)
    return finished(images, source=source, labels=said, split=how, studies_without_patient_id=nameless)


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name one with DICOM files in it, at any depth")
    for place, _, names in os.walk(folder.resolve()):
        yield from (Path(place) / name for name in names)
