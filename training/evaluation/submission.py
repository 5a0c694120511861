"""The form in which the RSNA 2019 challenge takes answers: `ID,Label`, six rows an image.

Shapes: C = 6 classes in the order of `ichd.domain.finding.CLASSES`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from training.packed.reading import ScanReading
from training.packed.study import PackedStudy

#: Of stage 1's training images, by class (paper.md): what is said of an image that nobody could read.
PREVALENCE: Mapping[str, float] = {
    "any": 0.1440,
    "intraparenchymal": 0.0483,
    "intraventricular": 0.0352,
    "subarachnoid": 0.0476,
    "subdural": 0.0630,
    "epidural": 0.0041,
}
#: The rows of an image, in the sample submission's order.
_ROWS = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")
#: Beside the shards: what could not be packed.
_LEFT_OUT = "left_out.parquet"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What was written."""

    path: Path
    images: int
    #: Asked for and not read; they have the prevalence.
    guessed: tuple[str, ...]
    #: Read and not asked for; they have no row.
    unasked: int


def write_submission(path: Path, readings: Sequence[ScanReading], wanted: Sequence[str] | None = None) -> Submission:
    """A row a class of every image: of those that were read, or, in their order, of the `wanted` ones.

    Images that were averaged into one slice have its probabilities, images that nobody read the prevalence.

    Raises:
        UserError: the disk is full, or the folder can't be written to.
    """
    said = {image: p_C for one in readings for ids, p_C in zip(one.image_ids, one.p_SC, strict=True) for image in ids}
    images = list(said) if wanted is None else list(wanted)
    prior_C = np.array([PREVALENCE[name] for name in CLASSES])
    columns = [CLASSES.index(name) for name in _ROWS]
    p_NC = np.array([said.get(image, prior_C) for image in images]).reshape(-1, len(CLASSES))[:, columns]
    frame = pl.DataFrame(
        {
            "ID": [f"{image}_{name}" for image in images for name in _ROWS],
            "Label": p_NC.reshape(-1),
        }
    )
    partial = path.with_name(path.name + ".partial")
    try:
        frame.write_csv(partial, float_precision=10)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path} can't be written ({error.strerror or error}); make room, or name another") from error
    return Submission(
        path=path,
        images=len(images),
        guessed=tuple(image for image in images if image not in said),
        unasked=len(said.keys() - set(images)),
    )


def read_wanted(path: Path) -> tuple[str, ...]:
    """The images that a sample submission asks for, each once, in its order; a plain list of ids serves, too.

    Raises:
        UserError: there is no such file, or it has another form.
    """
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read as text; name the challenge's sample submission") from error
    identifiers = (line.split(",")[0] for line in lines)
    images = dict.fromkeys(_without_class(one) for one in identifiers if one not in {"", "ID"})
    if not images or not all(image.startswith("ID_") for image in images):
        raise UserError(f"{path} is no sample submission: its rows begin with ID_…_any and the like")
    return tuple(images)


def images_of(folder: Path, studies: Sequence[PackedStudy]) -> tuple[str, ...]:
    """Every image of packed studies, also those that packing had to leave out, which stand at the end.

    Studies of which no image could be packed are in no split: only a sample submission knows their images.

    Raises:
        UserError: the table of what was left out is damaged.
    """
    packed = [image for study in studies for ids in study.image_ids for image in ids]
    table = folder / _LEFT_OUT
    if not table.is_file():
        return tuple(packed)
    try:
        rows = pl.read_parquet(table, columns=["study_id", "image_id"]).drop_nulls()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{table} is no whole parquet file ({error}); run `ichd data pack` again") from error
    lost = rows.filter(pl.col("study_id").is_in([study.study_id for study in studies]))["image_id"]
    return tuple(dict.fromkeys([*packed, *lost]))


def _without_class(identifier: str) -> str:
    image, _, name = identifier.rpartition("_")
    return image if name in _ROWS else identifier
