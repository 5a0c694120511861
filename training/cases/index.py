"""The index of a data set: one row an image, in one parquet file that everything after it is made from."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import polars as pl

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
#: Known only of a scan as a whole, what a slice shows is known of negatives alone.
LabelLevel = Literal["slice", "study"]

_FORM = "ichd index 1"

#: A file of this name beside images says that they are phantoms; what is trained on them says so as well.
SYNTHETIC_MARK = "SYNTHETIC"

#: Every column, in its order. UIDs are as the data set has them, legal or not.
SCHEMA: Mapping[str, pl.DataType] = {
    "image_id": pl.String(),
    "study_id": pl.String(),
    "series_id": pl.String(),
    "patient_id": pl.String(),
    #: Of the DICOM file; absolute.
    "path": pl.String(),
    #: 0-based position in the scan, inferior first; unique in a study. Images of one `slab` are averaged when packed.
    "position": pl.Int32(),
    "slab": pl.Int32(),
    #: Along the slice normal, mm, ascending with `position`.
    "z_mm": pl.Float64(),
    "rows": pl.Int32(),
    "columns": pl.Int32(),
    #: Between rows, between columns.
    "row_spacing_mm": pl.Float64(),
    "column_spacing_mm": pl.Float64(),
    #: As "16-bit signed -1024": Bits Stored, Pixel Representation, Rescale Intercept.
    "encoding": pl.String(),
    #: Null where the header does not say it.
    "thickness_mm": pl.Float64(),
    "manufacturer": pl.String(),
    #: 1, 0, or null where it is not known; classes in the order of `ichd.domain.finding.CLASSES`.
    **{name: pl.Int8() for name in CLASSES},
    #: "slice" or "study"; null without labels.
    "label_level": pl.String(),
    #: "train", "valid" or "test"; null for what is left out.
    "split": pl.String(),
    #: Why the image is left out, as "pixel data too short: 153710 of 524288 bytes"; null for what is used.
    "left_out": pl.String(),
}


@dataclass(frozen=True, kw_only=True)
class Index:
    """Images with their labels and splits."""

    #: The columns of `SCHEMA`, sorted by study and position; images that are left out stand at the end.
    images: pl.DataFrame
    #: Where it comes from and how it was made: source, seed and rule of the split, versions, counts for the report.
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def used(self) -> pl.DataFrame:
        """The images that are not left out."""
        return self.images.filter(pl.col("left_out").is_null())


def write_index(path: Path, index: Index) -> None:
    """One parquet file, whole or not there at all.

    Raises:
        UserError: the disk is full, or the folder can't be written to.
    """
    partial = path.with_name(path.name + ".partial")
    # In memory first, some 60 bytes an image: polars reports a full disk as a defect of the file's format.
    buffer = BytesIO()
    index.images.select(list(SCHEMA)).write_parquet(
        buffer, metadata={"form": _FORM, "facts": json.dumps(dict(index.facts), sort_keys=True)}
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(buffer.getbuffer())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise UserError(
            f"{path} can't be written ({error.strerror or error}); make room or name another place"
        ) from error


def read_index(path: Path) -> Index:
    """What `write_index` wrote.

    Raises:
        UserError: there is no index at `path`, or one of another version.
    """
    mend = "write one with `ichd data index`"
    if not path.is_file():
        raise UserError(f"{path} is not a file that exists; {mend}")
    try:
        images, said = pl.read_parquet(path), pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} is no whole parquet file ({error}); {mend}") from error
    if said.get("form") != _FORM or dict(images.schema) != dict(SCHEMA):
        raise UserError(f"{path} is no index of this version; {mend} again")
    return Index(images=images, facts=json.loads(said["facts"]))
