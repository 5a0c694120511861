"""Labels from CSV files: the competition's, one row an image and class, and a site's own, one row an image or study.

What two rows say differently is not decided here: the image keeps its row, and `fault` says why it has no labels.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import polars as pl

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from training.cases.index import LabelLevel

SUBTYPES = CLASSES[1:]
#: What a site's file may call the column of identifiers, by what they name.
KEYS: Mapping[str, LabelLevel] = {"image": "slice", "study": "study"}
_SAID = {"1": 1, "0": 0, "1.0": 1, "0.0": 0, "true": 1, "false": 0}
_ID = "^(.+)_([^_]+)$"
_FORM = "`ID,Label` with rows such as `ID_0123abcde_subdural,0`"


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Who has what, by the identifiers of images or of studies."""

    #: `key` (unique), the six classes (1, 0 or null), `fault` (null where the labels can be used).
    table: pl.DataFrame
    level: LabelLevel
    #: For the report: rows and repeated rows; how many are labelled, have unknown classes, are at fault.
    counts: Mapping[str, int] = field(default_factory=dict)


def read_rsna_labels(path: Path) -> Labels:
    """`stage_2_train.csv`: six rows an image, `ID_<9 hex>_<subtype>` and 0 or 1.

    A row that stands there twice counts once. Rows that contradict one another, and an "any" that is not the maximum of
    the subtypes (paper: no exception), are faults of their image.

    Raises:
        UserError: the file is missing, has other columns, an unknown class, or a label that is neither 0 nor 1.
    """
    rows = _read(path)
    if not {"ID", "Label"} <= set(rows.columns):
        raise UserError(f"{path} has the columns {', '.join(rows.columns)}; it needs {_FORM}")
    rows = rows.with_columns(
        key=pl.col("ID").str.extract(_ID, 1), name=pl.col("ID").str.extract(_ID, 2), value=_number(pl.col("Label"))
    )
    for broken, wrong in (
        (rows.filter(pl.col("key").is_null()), "its ID has no class at its end"),
        (rows.filter(pl.col("value").is_null()), "its Label is neither 0 nor 1"),
    ):
        if len(broken):
            raise UserError(f"{path}: the row {broken['ID'][0]},{broken['Label'][0]}: {wrong}; it needs {_FORM}")
    _refuse_unknown(path, rows["name"].unique().to_list())
    cells = (
        rows.select("key", pl.col("name").cast(pl.Enum(CLASSES)), "value")
        .group_by("key", "name")
        .agg(pl.col("value").max(), said=pl.col("value").n_unique(), times=pl.len())
    )
    repeated = cells.filter(pl.col("times") > pl.col("said"))
    counts = {
        "rows": len(rows),
        "repeated_rows": int((repeated["times"] - repeated["said"]).sum()),
        "of_repeated_rows": repeated["key"].n_unique(),
    }
    table = cells.select("key", "name", "value").pivot("name", index="key", values="value")
    return _labels(table, cells.filter(pl.col("said") > 1), "slice", counts)


def read_site_labels(path: Path) -> Labels:
    """A site's own CSV: `image` or `study` (a UID) and columns of classes, each 1, 0 or empty.

    A class without a column, and an empty cell, is not known. "any" follows from the subtypes where they decide it,
    and 0 for "any" is 0 for all of them.

    Raises:
        UserError: as `read_rsna_labels`; of an unknown column the nearest known one is named.
    """
    rows = _read(path)
    keys = [name for name in rows.columns if name in KEYS]
    if len(keys) != 1:
        raise UserError(
            f"{path} has the columns {', '.join(rows.columns)}; it needs one of `image` (SOP Instance UID) and `study` "
            f"(Study Instance UID), and classes: {', '.join(CLASSES)}"
        )
    names = [name for name in rows.columns if name not in keys]
    _refuse_unknown(path, names)
    if not names:
        raise UserError(f"{path} names no class; add columns of {', '.join(CLASSES)}")
    rows = rows.with_columns(pl.col(keys[0]).str.strip_chars().alias("key"))
    rows = rows.filter(pl.col("key").is_not_null() & (pl.col("key") != ""))
    for name in names:
        wrong = rows.filter(pl.col(name).pipe(_number).is_null() & (pl.col(name).str.strip_chars() != ""))
        if len(wrong):
            raise UserError(f"{path}: {name} of {wrong['key'][0]} is {wrong[name][0]!r}; write 1, 0 or nothing")
    rows = rows.select("key", *(pl.col(name).pipe(_number).alias(name) for name in names))
    one_each = rows.group_by("key").agg(pl.col(name).max() for name in names)
    cells = rows.unpivot(index="key", variable_name="name").drop_nulls("value")
    contradicting = cells.group_by("key", "name").agg(said=pl.col("value").n_unique()).filter(pl.col("said") > 1)
    counts = {
        "rows": len(rows),
        "repeated_rows": len(rows) - rows["key"].n_unique(),
        "of_repeated_rows": rows.filter(pl.col("key").is_duplicated())["key"].n_unique(),
    }
    return _labels(one_each, contradicting, KEYS[keys[0]], counts)


def completed(table: pl.DataFrame) -> pl.DataFrame:
    """What one class says of another: "any" is the maximum of the subtypes.

    Missing columns become null ones; `fault` is set where "any" and the subtypes contradict each other.
    """
    absent = [pl.lit(None, dtype=pl.Int8).alias(name) for name in (*CLASSES, "fault") if name not in table.columns]
    table = table.with_columns(absent).with_columns(pl.col(name).cast(pl.Int8) for name in CLASSES)
    some = pl.any_horizontal(pl.col(name) == 1 for name in SUBTYPES).fill_null(value=False)
    all_absent = pl.all_horizontal((pl.col(name) == 0).fill_null(value=False) for name in SUBTYPES)
    wrong = ((pl.col("any") == 0) & some) | ((pl.col("any") == 1) & all_absent)
    said = pl.lit('"any" is not the maximum of the subtypes')
    table = table.with_columns(
        fault=pl.when(wrong.fill_null(value=False)).then(said).otherwise(pl.col("fault").cast(pl.String)),
        any=pl.when(pl.col("any").is_null() & some).then(1).when(pl.col("any").is_null() & all_absent).then(0)
        .otherwise(pl.col("any")).cast(pl.Int8),
    )  # fmt: skip
    none = (pl.col("any") == 0) & pl.col("fault").is_null()
    return table.with_columns(
        pl.when(none).then(pl.col(name).fill_null(0)).otherwise(pl.col(name)).alias(name) for name in SUBTYPES
    )


def _labels(table: pl.DataFrame, contradicting: pl.DataFrame, level: LabelLevel, counts: Mapping[str, int]) -> Labels:
    """`contradicting` has a row for each `key` and `name` of which two things are said."""
    listed = contradicting.group_by("key").agg(contradicted=pl.col("name").cast(pl.String).sort().str.join(", "))
    table = completed(table).join(listed, on="key", how="left")
    said = pl.concat_str(pl.lit("contradicting labels: "), pl.col("contradicted"))
    table = table.with_columns(
        fault=pl.when(pl.col("contradicted").is_not_null()).then(said).otherwise(pl.col("fault"))
    ).select("key", *CLASSES, "fault")
    unknown = table.filter(pl.any_horizontal(pl.col(name).is_null() for name in CLASSES))
    more = {
        "labelled": len(table),
        "with_unknown_classes": len(unknown),
        "faults": len(table) - table["fault"].null_count(),
    }
    return Labels(table=table.sort("key"), level=level, counts={**counts, **more})


def _read(path: Path) -> pl.DataFrame:
    mend = "name the CSV file of labels with --labels"
    if not path.is_file():
        raise UserError(f"{path} is not a file that exists; {mend}")
    try:
        rows = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} can't be read as CSV ({str(error).splitlines()[0]}); {mend}") from error
    return rows.rename({name: name.strip() for name in rows.columns})


def _number(column: pl.Expr) -> pl.Expr:
    return column.str.strip_chars().str.to_lowercase().replace_strict(_SAID, default=None, return_dtype=pl.Int8)


def _refuse_unknown(path: Path, names: Iterable[str]) -> None:
    for name in sorted(names):
        if name not in CLASSES:
            nearest = get_close_matches(name.lower(), CLASSES, n=1, cutoff=0.0)[0]
            raise UserError(f"{path}: {name!r} is no class; did you mean {nearest}? Known are {', '.join(CLASSES)}")
