"""The end of every index: its columns, its figures, and a refusal where nothing is left."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from ichd import __version__
from ichd.domain.errors import UserError
from ichd.phantom.series import PHANTOM_MAKER
from training.cases.index import SYNTHETIC_MARK, Index
from training.cases.leaving import in_order
from training.cases.summary import counts_of


def finished(
    images: pl.DataFrame,
    *,
    source: Mapping[str, Any],
    labels: Mapping[str, Any],
    split: Mapping[str, Any],
    studies_without_patient_id: int,
) -> Index:
    """The index of `images`, with what there is to report of it.

    Raises:
        UserError: every image is left out; names the commonest reason.
    """
    images = in_order(images)
    counts = counts_of(images)
    if not counts["images"]:
        reason, found = next(iter(counts["left_out"].items()))
        raise UserError(
            f"none of {counts['files']} files can be used; {found['images']} of them: {reason} "
            f"(as {', '.join(found['first'])})"
        )
    facts = {
        "source": {**source, "synthetic": _synthetic(images, Path(source["folder"]))},
        "labels": dict(labels),
        "split": dict(split),
        "counts": {**counts, "studies_without_patient_id": studies_without_patient_id},
        "versions": {"ichd": __version__, **{name: version(name) for name in ("polars", "pydicom")}},
    }
    return Index(images=images, facts=facts)


def _synthetic(images: pl.DataFrame, folder: Path) -> bool:
    """Whether phantoms are among the images: by their folder's mark, or by the maker that `ichd phantom` writes."""
    marked = any((place / SYNTHETIC_MARK).exists() for place in (folder, folder.parent))
    return marked or bool((images["manufacturer"] == PHANTOM_MAKER).any())
