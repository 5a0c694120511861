"""Which images stand one behind the other, and in which order: positions, and slabs of thin slices.

Shapes: N images of any number of studies.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ichd.domain.geometry import slice_normal
from ichd.vision.slabs import slabs_of
from training.cases.leaving import leave_out

#: Steps are rounded so far before they are compared: what headers write beyond is noise.
_ROUNDED_TO_MM = 3
#: Closer along the normal is the same place, as in `ichd.domain.placed`.
_SAME_PLACE_MM = 0.05
#: A step that differs so much from its study's usual one is uneven spacing.
_UNEVEN_SHARE, _UNEVEN_MM = 0.1, 0.1
#: Parallel within about one degree, and spacing equal within one per cent, as in `ichd.vision.stack`.
_PARALLEL_COSINE, _SPACING_SHARE = 0.9998, 0.01
#: Beyond this "inferior first" has no meaning (`ichd.vision.stack`).
_LEAST_AXIAL_COSINE = float(np.cos(np.deg2rad(45)))

Floats = NDArray[np.float64]


def ordered(images: pl.DataFrame, *, averaged: bool) -> pl.DataFrame:
    """`images` with `z_mm`, `position` and `slab`; those that don't stack on their study's others are left out.

    `z_mm` is the position along the study's slice normal, which points to the head, rounded to a micrometre. Images in
    one place stand in the order of their identifiers: any rule will do, and this one is the same for every copy of the
    data. With `averaged`, thin slices form slabs as the daemon forms them; else each image is a slab of its own.
    """
    kept, gone = images.filter(pl.col("left_out").is_null()), images.filter(pl.col("left_out").is_not_null())
    kept = _along_the_normal(kept)
    still, more = kept.filter(pl.col("left_out").is_null()), kept.filter(pl.col("left_out").is_not_null())
    still = still.sort("study_id", "z_mm", "image_id").with_columns(
        position=pl.int_range(pl.len()).over("study_id").cast(pl.Int32)
    )
    still = _with_slabs(still) if averaged else still.with_columns(slab=pl.col("position"))
    return pl.concat([still, more, gone], how="diagonal")


def spacing_facts(images: pl.DataFrame) -> Mapping[str, Any]:
    """What is odd in the spacing of the images that are used: studies by what was noticed, and the usual gap.

    Uneven is a step between different places that differs from the study's median by more than a tenth and 0.1 mm.
    """
    steps = (
        images.sort("study_id", "position")
        .with_columns(step=pl.col("z_mm").diff().over("study_id"))
        .drop_nulls("step")
        .with_columns(same=pl.col("step") < _SAME_PLACE_MM)
    )
    usual = pl.col("step").filter(~pl.col("same")).median()
    tolerance = pl.max_horizontal(usual * _UNEVEN_SHARE, pl.lit(_UNEVEN_MM))
    odd = steps.group_by("study_id").agg(
        uneven=(~pl.col("same") & ((pl.col("step") - usual).abs() > tolerance)).any(),
        duplicates=pl.col("same").sum(),
        usual=usual,
    )
    lengths = images.group_by("study_id").len()
    single = lengths.filter(pl.col("len") == 1)["study_id"].sort()
    median_slices, median_gap = lengths["len"].median(), odd["usual"].median()
    return {
        "slices_a_study_median": median_slices,
        "gap_mm_median": None if median_gap is None else round(float(median_gap), 2),  # type: ignore[arg-type]
        "studies_with_uneven_spacing": int(odd["uneven"].sum()),
        "studies_with_duplicate_positions": int((odd["duplicates"] > 0).sum()),
        "images_at_duplicate_positions": int(odd["duplicates"].sum()),
        "studies_with_one_slice": len(single),
        "first_studies_with_one_slice": single.head(3).to_list(),
    }


def _along_the_normal(images: pl.DataFrame) -> pl.DataFrame:
    if images.is_empty():
        return images.with_columns(z_mm=pl.lit(None, dtype=pl.Float64))
    images = images.join(_references(images), on="study_id", how="left", maintain_order="left")
    orientation_N6, reference_N6 = images["orientation"].to_numpy(), images["reference"].to_numpy()
    normal_N3 = _normals(reference_N6)
    z_mm_N = np.round(np.einsum("ni,ni->n", images["pixel_position"].to_numpy(), normal_N3), _ROUNDED_TO_MM)
    parallel_N = np.minimum(
        np.einsum("ni,ni->n", orientation_N6[:, :3], reference_N6[:, :3]),
        np.einsum("ni,ni->n", orientation_N6[:, 3:], reference_N6[:, 3:]),
    )
    images = images.with_columns(
        z_mm=pl.Series(z_mm_N), parallel=pl.Series(parallel_N), axial=pl.Series(normal_N3[:, 2])
    )
    other_size = (pl.col("rows") != pl.col("usual_rows")) | (pl.col("columns") != pl.col("usual_columns"))
    other_spacing = pl.any_horizontal(
        (pl.col(name) / pl.col(f"usual_{name}") - 1).abs() > _SPACING_SHARE
        for name in ("row_spacing_mm", "column_spacing_mm")
    )
    size = pl.format("another size than its study's images: {} x {}", pl.col("rows"), pl.col("columns"))
    images = leave_out(images, other_size, size)
    images = leave_out(images, other_spacing, "another pixel spacing than its study's images")
    images = leave_out(images, pl.col("parallel") <= _PARALLEL_COSINE, "not parallel to its study's images")
    images = leave_out(images, pl.col("axial") < _LEAST_AXIAL_COSINE, "not axial")
    return images.drop("reference", "parallel", "axial", "^usual_.*$")


def _references(images: pl.DataFrame) -> pl.DataFrame:
    """The image that stands for its study: the first by identifier of those whose geometry most share."""
    rounded = pl.col("orientation").arr.to_list().list.eval(pl.element().round(2)).list.eval(
        pl.element().cast(pl.String)
    ).list.join(" ")  # fmt: skip
    alike = pl.struct(
        "rows", "columns", pl.col("row_spacing_mm").round(2), pl.col("column_spacing_mm").round(2), g=rounded
    )
    return (
        images.with_columns(alike=alike)
        .with_columns(votes=pl.len().over("study_id", "alike"))
        .sort("study_id", "votes", "image_id", descending=[False, True, False])
        .group_by("study_id", maintain_order=True)
        .first()
        .select(
            "study_id",
            reference="orientation",
            usual_rows="rows",
            usual_columns="columns",
            usual_row_spacing_mm="row_spacing_mm",
            usual_column_spacing_mm="column_spacing_mm",
        )
    )


def _normals(orientation_N6: Floats) -> Floats:
    distinct, index = np.unique(orientation_N6, axis=0, return_inverse=True)
    # Headers whose directions make no plane were left out when they were read.
    normals = [slice_normal(tuple(each)) or (0.0, 0.0, 0.0) for each in distinct.tolist()]
    return np.asarray(normals)[index.ravel()]


def _with_slabs(images: pl.DataFrame) -> pl.DataFrame:
    """Images in the order of study and position."""
    slabs: list[int] = []
    studies = images.select("study_id", "z_mm", "thickness_mm").group_by("study_id", maintain_order=True)
    for study in studies.agg("z_mm", pl.col("thickness_mm").median()).iter_rows(named=True):
        for number, slab in enumerate(slabs_of(study["z_mm"], study["thickness_mm"])):
            slabs += [number] * len(slab)
    return images.with_columns(slab=pl.Series(slabs, dtype=pl.Int32))
