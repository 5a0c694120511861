"""The index, a study at a time: what packing hands to its processes."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median

import polars as pl

from ichd.domain.finding import CLASSES
from training.cases.index import SCHEMA, Index
from training.packed.study import UNKNOWN

#: Where a subgroup is not known.
NOT_SAID = "not said"


@dataclass(frozen=True, kw_only=True)
class IndexedImage:
    """One image that is used, before it is read."""

    image_id: str
    path: str
    position: int
    slab: int
    z_mm: float
    #: 1, 0 or UNKNOWN, [C].
    labels: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class IndexedStudy:
    """The images of one study that are used, ascending by position."""

    study_id: str
    patient_id: str
    split: str
    label_level: str
    #: Of the largest image, and of all.
    rows: int
    columns: int
    groups: dict[str, str]
    images: tuple[IndexedImage, ...]


def indexed_studies(index: Index) -> Iterator[IndexedStudy]:
    """The studies of an index by name; images that it leaves out are not there."""
    used = index.used.sort("study_id", "position", "image_id")
    for study in used.group_by("study_id", maintain_order=True).agg(pl.all()).iter_rows(named=True):
        labels = zip(*(study[name] for name in CLASSES), strict=True)
        columns = zip(study["image_id"], study["path"], study["position"], study["slab"], study["z_mm"], strict=True)
        yield IndexedStudy(
            study_id=study["study_id"],
            patient_id=study["patient_id"][0],
            split=study["split"][0] or "",
            # Without labels nothing is known either way.
            label_level=study["label_level"][0] or "study",
            rows=max(study["rows"]),
            columns=max(study["columns"]),
            groups=_groups(study["encoding"], study["thickness_mm"], study["manufacturer"]),
            images=tuple(
                IndexedImage(
                    image_id=image_id,
                    path=path,
                    position=position,
                    slab=slab,
                    z_mm=z_mm,
                    labels=tuple(UNKNOWN if value is None else value for value in known),
                )
                for (image_id, path, position, slab, z_mm), known in zip(columns, labels, strict=True)
            ),
        )


def index_sha256(index: Index) -> str:
    """Of all that the index says of images; how polars writes files has no part in it."""
    digest = hashlib.sha256()
    for part in index.images.select(list(SCHEMA)).iter_slices(50_000):
        digest.update(part.write_csv(float_precision=6).encode())
    return digest.hexdigest()


def _groups(
    encodings: Iterable[str | None], thickness_mm: Iterable[float | None], manufacturers: Iterable[str | None]
) -> dict[str, str]:
    return {
        "encoding": _usual(encodings),
        "thickness": _thickness([mm for mm in thickness_mm if mm is not None]),
        "manufacturer": _usual(manufacturers),
    }


def _usual(values: Iterable[str | None]) -> str:
    said = Counter(value for value in values if value)
    return min(said, key=lambda value: (-said[value], value)) if said else NOT_SAID


def _thickness(said_mm: list[float]) -> str:
    if not said_mm:
        return NOT_SAID
    usual = median(said_mm)
    return "below 2.5 mm" if usual < 2.5 else "2.5 to 4 mm" if usual < 4 else "4 mm and more"
