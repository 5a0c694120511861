"""What a folder of packed studies says of itself: `studies.parquet`, one row a study.

One file with lists in its cells rather than a second table of slices: a study is read as a whole or not at all, and
21,744 of them are 20 MB. Shapes: S slices, C = 6 classes.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from training.packed.images import LeftOut
from training.packed.shard import PARTIAL

STUDIES = "studies.parquet"
LEFT_OUT = "left_out.parquet"
_FORM = "ichd packed 1"

#: Every column of `studies.parquet`, in its order.
SCHEMA: Mapping[str, pl.DataType] = {
    "study_id": pl.String(),
    "patient_id": pl.String(),
    "split": pl.String(),
    #: Relative to the folder.
    "shard": pl.String(),
    "sha256": pl.String(),
    "bytes": pl.Int64(),
    "image_ids": pl.List(pl.List(pl.String())),
    "z_mm": pl.List(pl.Float64()),
    "rows": pl.Int32(),
    "columns": pl.Int32(),
    "row_spacing_mm": pl.Float64(),
    "column_spacing_mm": pl.Float64(),
    "centre_row": pl.Float64(),
    "centre_column": pl.Float64(),
    #: S x C values, slice by slice.
    "labels": pl.List(pl.Int8()),
    "study_labels": pl.List(pl.Int8()),
    "label_level": pl.String(),
    "encoding": pl.String(),
    "thickness": pl.String(),
    "manufacturer": pl.String(),
    "repaired_images": pl.Int32(),
    "rounded_images": pl.Int32(),
}
_LEFT_OUT_SCHEMA: Mapping[str, pl.DataType] = {
    "study_id": pl.String(),
    "image_id": pl.String(),
    "reason": pl.String(),
    "kind": pl.String(),
}


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One row of `studies.parquet`; its fields are the columns of `SCHEMA`."""

    study_id: str
    patient_id: str
    split: str
    shard: str
    sha256: str
    bytes: int
    image_ids: Sequence[Sequence[str]]
    z_mm: Sequence[float]
    rows: int
    columns: int
    row_spacing_mm: float
    column_spacing_mm: float
    centre_row: float
    centre_column: float
    labels: Sequence[int]
    study_labels: Sequence[int]
    label_level: str
    encoding: str
    thickness: str
    manufacturer: str
    repaired_images: int
    rounded_images: int

    @property
    def slices(self) -> int:
        return len(self.z_mm)

    @property
    def raw_bytes(self) -> int:
        """Of the same slices as bare int16."""
        return 2 * self.slices * self.rows * self.columns


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """`studies.parquet` as it was written."""

    rows: tuple[StudyRow, ...]
    #: Over all rows: shards, order, labels, splits. What a run says it was trained on.
    data_sha256: str
    #: Of the index, and its own facts.
    index_sha256: str
    facts: Mapping[str, Any]


def write_manifest(
    folder: Path, rows: Sequence[StudyRow], left_out: Sequence[LeftOut], *, index_sha256: str, facts: Mapping[str, Any]
) -> str:
    """Write both tables, `studies.parquet` last and whole; returns `data_sha256`. The order of `rows` is free.

    Raises:
        UserError: the disk is full, or the folder can't be written to.
    """
    ordered = sorted(rows, key=lambda row: row.study_id)
    # By name, and None before an image of the same study.
    lost = sorted(left_out, key=lambda one: (one.study_id, one.image_id or ""))
    said = {
        "form": _FORM,
        "data_sha256": data_sha256(ordered),
        "index_sha256": index_sha256,
        "classes": json.dumps(CLASSES),
        "facts": json.dumps(dict(facts), sort_keys=True),
    }
    _write(folder / LEFT_OUT, pl.DataFrame([asdict(one) for one in lost], schema=dict(_LEFT_OUT_SCHEMA)), said)
    _write(folder / STUDIES, pl.DataFrame([vars(row) for row in ordered], schema=dict(SCHEMA)), said)
    return said["data_sha256"]


def read_manifest(folder: Path) -> Manifest:
    """What `write_manifest` wrote.

    Raises:
        UserError: nothing is packed there, packing has not ended, or the file is damaged or of another version.
    """
    path, mend = folder / STUDIES, "run `ichd data pack` again"
    if not path.is_file():
        raise UserError(f"{folder} holds no packed studies, or packing has not ended; {mend}")
    try:
        table, said = pl.read_parquet(path), pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} is no whole parquet file ({error}); {mend}") from error
    if said.get("form") != _FORM or dict(table.schema) != dict(SCHEMA):
        raise UserError(f"{path} is not of this version; {mend}, to another folder")
    rows = tuple(StudyRow(**row) for row in table.iter_rows(named=True))
    if data_sha256(rows) != said["data_sha256"]:
        raise UserError(f"{path} is damaged: its rows do not match their checksum; {mend}")
    return Manifest(
        rows=rows,
        data_sha256=said["data_sha256"],
        index_sha256=said["index_sha256"],
        facts=json.loads(said["facts"]),
    )


def data_sha256(rows: Sequence[StudyRow]) -> str:
    """Of the rows in their order, by value: another version of polars writes other bytes for the same data."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(vars(row), sort_keys=True, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def _write(path: Path, table: pl.DataFrame, said: Mapping[str, str]) -> None:
    partial = path.with_name(path.name + PARTIAL)
    try:
        table.write_parquet(partial, metadata=dict(said))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(
            f"{path} can't be written ({error.strerror or error}); make room and run the same command again"
        ) from error
