"""An index to a folder of packed studies: what is read a hundred times while learning is decoded and turned once.

packed/studies.parquet     a row a study (`training.packed.manifest`), written last: without it nothing is packed
packed/left_out.parquet    images and studies that could not be used, with reasons
packed/journal.jsonl       how far packing has come
packed/3f/ID_....shard     HU (`training.packed.shard`), spread over 256 folders
"""

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichd.domain.errors import UserError
from ichd.vision.preprocess import head_centre
from training.cases.index import Index
from training.packed.images import LeftOut, StudyImages, highest, read_images
from training.packed.indexed import IndexedStudy, index_sha256, indexed_studies
from training.packed.journal import Journal, Outcome
from training.packed.manifest import StudyRow, write_manifest
from training.packed.processes import spread
from training.packed.shard import PARTIAL, SUFFIX, sha256_of, write_shard
from training.packed.study import UNKNOWN

#: A little less than what head CT shrinks by, so that packing is not refused where it might fit, and does not end late.
_EXPECTED_RATIO = 2.7
#: Identifiers of data sets are not always UIDs, and may hold what a file's name can't.
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class PackSummary:
    """What packing came to."""

    studies: int
    #: By split.
    splits: Mapping[str, int]
    #: Images that are in the slices.
    images: int
    slices: int
    #: Of the shards, and of the same slices as bare int16.
    bytes: int
    raw_bytes: int
    #: Studies whose shards were there already, and whole.
    kept: int
    #: Images whose Rescale Intercept was repaired (`ichd.vision.repair`).
    repaired_images: int
    #: Images whose HU were not whole numbers and were rounded; of all others packing loses nothing.
    rounded_images: int
    #: How many images, and studies, by reason.
    left_out: Mapping[str, int]
    data_sha256: str


def pack(
    index: Index,
    folder: Path,
    *,
    processes: int = 1,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> PackSummary:
    """Pack the studies of an index, or go on with what an earlier call began. Equal indexes give equal shards.

    Each process holds one study at a time. What can't be read is left out and named in `left_out.parquet`.

    Raises:
        UserError: the folder holds other things or another index's studies, another process packs into it, there is too
            little room,
            the disk is full, the images' folder is away, or nothing at all could be packed.
    """
    sha256 = index_sha256(index)
    total = index.used["study_id"].n_unique()
    outcomes: list[Outcome] = []
    kept = 0
    with Journal(folder, sha256) as journal:
        _require_room(index, folder, journal)
        _remove_partial(folder)
        tasks = ((study, journal.outcomes.get(study.study_id)) for study in indexed_studies(index))
        for outcome, was_there in spread(partial(_pack_study, folder), tasks, processes=processes):
            if not was_there:
                journal.add(outcome)
            kept += was_there
            outcomes.append(outcome)
            on_progress(len(outcomes), total)
        rows = [outcome.row for outcome in outcomes if outcome.row is not None]
        left_out = [one for outcome in outcomes for one in outcome.left_out]
        if not rows:
            reasons = "; ".join(f"{count} times: {kind}" for kind, count in _by_kind(left_out).items())
            raise UserError(f"nothing could be packed ({reasons or 'the index has no image that is used'})")
        data_sha256 = write_manifest(folder, rows, left_out, index_sha256=sha256, facts=index.facts)
    return _summary(rows, left_out, kept, data_sha256)


def _pack_study(folder: Path, task: tuple[IndexedStudy, Outcome | None]) -> tuple[Outcome, bool]:
    """One study's outcome, and whether it stood there already."""
    study, known = task
    if known is not None and known.row is not None and _is_whole(folder / known.row.shard, known.row.sha256):
        return known, True
    if not study.split:
        alone = LeftOut(study_id=study.study_id, image_id=None, reason="in no split", kind="in no split")
        return Outcome(study_id=study.study_id, row=None, left_out=(alone,)), False
    images, left_out = read_images(study)
    row = None if images is None else _write(folder, study, images)
    return Outcome(study_id=study.study_id, row=row, left_out=left_out), False


def _write(folder: Path, study: IndexedStudy, images: StudyImages) -> StudyRow:
    shard = shard_name(study.study_id)
    sha256 = write_shard(folder / shard, images.hu_SHW)
    _, rows, columns = images.hu_SHW.shape
    centre_row, centre_column = head_centre(images.hu_SHW, images.pixel_spacing_mm)
    return StudyRow(
        study_id=study.study_id,
        patient_id=study.patient_id,
        split=study.split,
        shard=shard,
        sha256=sha256,
        bytes=(folder / shard).stat().st_size,
        image_ids=images.image_ids,
        z_mm=images.z_mm,
        rows=rows,
        columns=columns,
        row_spacing_mm=images.pixel_spacing_mm[0],
        column_spacing_mm=images.pixel_spacing_mm[1],
        centre_row=float(centre_row),
        centre_column=float(centre_column),
        labels=_slice_labels(study, images).ravel().tolist(),
        study_labels=highest(images.labels_SC).tolist(),
        label_level=study.label_level,
        encoding=study.groups["encoding"],
        thickness=study.groups["thickness"],
        manufacturer=study.groups["manufacturer"],
        repaired_images=images.repaired,
        rounded_images=images.rounded,
    )


def _slice_labels(study: IndexedStudy, images: StudyImages) -> NDArray[np.int8]:
    """Of a study that is labelled as a whole, only what it has not is known of its slices; int8 [S, C]."""
    if study.label_level == "slice":
        return images.labels_SC
    of_study_C = highest(images.labels_SC)
    return np.tile(np.where(of_study_C == 0, 0, UNKNOWN).astype(np.int8), (len(images.z_mm), 1))


def shard_name(study_id: str) -> str:
    """Where a study's shard lies in the folder: under its name where file systems can bear it, else under its hash."""
    digest = hashlib.sha256(study_id.encode()).hexdigest()
    return f"{digest[:2]}/{study_id if _SAFE_NAME.fullmatch(study_id) else digest}{SUFFIX}"


def _is_whole(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except OSError:
        return False


def _require_room(index: Index, folder: Path, journal: Journal) -> None:
    done = [study_id for study_id, outcome in journal.outcomes.items() if outcome.row is not None]
    images = index.used
    waiting = images.filter(~images["study_id"].is_in(done)).unique(["study_id", "slab"])
    pixels = int((waiting["rows"].cast(int) * waiting["columns"].cast(int)).sum() or 0)
    needed, free = 2 * pixels / _EXPECTED_RATIO, shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder} has {free / 1e9:,.1f} GB free and packing needs about {needed / 1e9:,.1f} GB; "
            "make room, or name a folder on another disk"
        )


def _remove_partial(folder: Path) -> None:
    """What a kill left half-written."""
    for path in folder.glob(f"??/*{SUFFIX}{PARTIAL}"):
        path.unlink(missing_ok=True)


def _by_kind(left_out: Sequence[LeftOut]) -> dict[str, int]:
    return dict(Counter(one.kind for one in left_out).most_common())


def _summary(rows: Sequence[StudyRow], left_out: Sequence[LeftOut], kept: int, data_sha256: str) -> PackSummary:
    return PackSummary(
        studies=len(rows),
        splits=dict(sorted(Counter(row.split for row in rows).items())),
        images=sum(len(slab) for row in rows for slab in row.image_ids),
        slices=sum(row.slices for row in rows),
        bytes=sum(row.bytes for row in rows),
        raw_bytes=sum(row.raw_bytes for row in rows),
        kept=kept,
        repaired_images=sum(row.repaired_images for row in rows),
        rounded_images=sum(row.rounded_images for row in rows),
        left_out=_by_kind(left_out),
        data_sha256=data_sha256,
    )
