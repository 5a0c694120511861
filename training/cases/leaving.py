"""Leaving an image out: it keeps its row, with the first reason that was found."""

import polars as pl

from training.cases.index import SCHEMA


def leave_out(images: pl.DataFrame, where: pl.Expr, reason: str | pl.Expr) -> pl.DataFrame:
    """`images` with a reason wherever `where` holds and none stands yet.

    A reason is as "pixel data too short: 153710 of 524288 bytes": what it is, and its figures behind a colon.
    """
    said = pl.lit(reason) if isinstance(reason, str) else reason
    unset = pl.col("left_out").is_null() & where.fill_null(value=False)
    return images.with_columns(left_out=pl.when(unset).then(said).otherwise(pl.col("left_out")))


def kind_of_reason() -> pl.Expr:
    """The reason of each image without its figures, for counting."""
    return pl.col("left_out").str.splitn(":", 2).struct.field("field_0")


def repeated_images_left_out(images: pl.DataFrame) -> pl.DataFrame:
    """Of several files with one identifier the first counts, in the order of their paths."""
    earlier = pl.col("path").first().over("image_id", order_by=[pl.col("left_out").is_not_null(), pl.col("path")])
    again = pl.col("image_id").is_not_null() & (pl.col("path") != earlier)
    return leave_out(images, again, pl.concat_str(pl.lit("the same image is there already: "), earlier))


def patients_named(images: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """A study without Patient ID is a patient of its own, for splits; returns how many studies that are as well."""
    nameless = pl.col("patient_id").is_null() | (pl.col("patient_id") == "")
    studies = images.filter(nameless & pl.col("left_out").is_null())["study_id"].n_unique()
    own = pl.when(nameless).then(pl.col("study_id")).otherwise(pl.col("patient_id"))
    return images.with_columns(patient_id=own), studies


def in_order(images: pl.DataFrame) -> pl.DataFrame:
    """The columns of the index, in its order; what is left out stands at the end and has neither place nor split."""
    gone = pl.col("left_out").is_not_null()
    blank = [
        pl.when(gone).then(None).otherwise(pl.col(name)).alias(name)
        for name in ("position", "slab", "split", "label_level")
    ]
    rows = images.with_columns(blank).sort(
        [gone, "study_id", "position", "image_id", "path"], nulls_last=[False, True, True, True, True]
    )
    return rows.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
