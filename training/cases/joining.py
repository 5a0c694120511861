"""Labels to their images, and what finds no partner on either side."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from ichd.domain.finding import CLASSES
from training.cases.labels import Labels
from training.cases.leaving import leave_out

NO_LABEL = "no label"


def labelled(images: pl.DataFrame, labels: Labels, *, whole_studies: bool) -> tuple[pl.DataFrame, Mapping[str, Any]]:
    """`images` with the classes and `label_level`; what has no label, or faulty ones, is left out.

    With `whole_studies`, images without a label stay, as unknown, where another image of their study has one: to take
    them out would tear holes into the scan.
    """
    key = {"slice": "image_id", "study": "study_id"}[labels.level]
    table = labels.table.rename({"key": key}).with_columns(found=pl.lit(value=True))
    joined = images.join(table, on=key, how="left", maintain_order="left")
    found = pl.col("found").fill_null(value=False)
    without = ~found & pl.col("left_out").is_null()
    in_study = found.any().over("study_id") if whole_studies else found
    orphans = labels.table.join(images.select(key), left_on="key", right_on=key, how="anti")
    counts = {
        **labels.counts,
        "level": labels.level,
        "without_image": len(orphans),
        "first_without_image": orphans["key"].sort().head(3).to_list(),
        "images_without_label": joined.select(without.sum()).item(),
        "first_images_without_label": joined.filter(without)["image_id"].sort().head(3).to_list(),
    }
    joined = leave_out(joined, ~in_study, NO_LABEL)
    joined = leave_out(joined, pl.col("fault").is_not_null(), pl.col("fault"))
    return joined.with_columns(label_level=pl.lit(labels.level)).drop("found", "fault"), counts


def unlabelled(images: pl.DataFrame) -> pl.DataFrame:
    """`images` as they are before anybody has read them: every class null."""
    return images.with_columns(
        *(pl.lit(None, dtype=pl.Int8).alias(name) for name in CLASSES),
        label_level=pl.lit(None, dtype=pl.String),
    )
