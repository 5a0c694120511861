"""Phantoms laid out as CQ500 is downloaded, so that its table can be rehearsed without the data.

The folders, file names and CSV headers are the real ones; the images, readers and the comparator are made up.
"""

import csv
import shutil
import tempfile
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import UID

from ichd.domain.finding import CLASSES
from ichd.phantom import BLEED_KINDS, Phantom, PhantomRecipe, render, write_series
from training.cases.cq500 import PREDICTIONS_NAME, READS_NAME
from training.cases.cq500_reads import CODES, READERS

#: In the order of the real files, which is not that of a network.
_COLUMNS = ("ICH", "IPH", "IVH", "SDH", "EDH", "SAH")
_OTHER_READS = (
    "BleedLocation-Left", "BleedLocation-Right", "ChronicBleed", "Fracture", "CalvarialFracture", "OtherFracture",
    "MassEffect", "MidlineShift",
)  # fmt: skip
_OTHER_PREDICTIONS = ("Fracture", "CalvarialFracture", "MassEffect", "MidlineShift")
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "cq500.layouts.ichd")

#: How often a reader overlooks what is there, and sees what is not.
_OVERLOOKS = 0.08
_IMAGINES = 0.02


@dataclass(frozen=True, kw_only=True)
class _Series:
    """One reconstruction of a study."""

    folder: str
    description: str
    kernel: str = "STANDARD"
    contrast: str = ""
    #: Two slices for each of the plain one.
    fine: bool = False


_PLAIN = _Series(folder="CT Plain", description="Plain")
_OTHERS: tuple[_Series, ...] = (
    _Series(folder="CT PLAIN THIN", description="Plain thin", fine=True),
    _Series(folder="CT POST CONTRAST", description="Post contrast", contrast="IODINE"),
    _Series(folder="CT BONE", description="Bone", kernel="BONEPLUS"),
)


def write_cq500_layout(
    out: Path, *, studies: int, seed: int, rows: int = 128, slices: tuple[int, int] = (10, 16), zipped: bool = False
) -> None:
    """Studies of one to three series with their reads and predictions; the same arguments give the same images.

    Every second study bleeds, kinds in turn; `slices` are the fewest and the most of a plain series.
    """
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    truth_NC = np.zeros((studies, len(CLASSES)), dtype=bool)
    for number in range(studies):
        bleeds = _bleeds(number, rng)
        recipe = PhantomRecipe(
            seed=seed * 100_003 + number,
            bleeds=bleeds,
            slices=2 * int(rng.integers(slices[0], slices[1] + 1)),
            rows=rows,
            voxel_mm=3.0,
            tilt_deg=0.0,
            subtlety=0.1,
        )
        count = int(rng.integers(0, len(_OTHERS)))
        others = [_OTHERS[i] for i in sorted(rng.permutation(len(_OTHERS))[:count])]
        truth_NC[number] = _write_study(out, number, recipe, (*others, _PLAIN), zipped=zipped)
    names = [f"CQ500-CT-{number}" for number in range(studies)]
    _write_reads(out / READS_NAME, names, truth_NC, rng)
    _write_predictions(out / PREDICTIONS_NAME, names, truth_NC, rng)


def _bleeds(number: int, rng: np.random.Generator) -> tuple[str, ...]:
    """None of every even study; of the odd ones each kind comes first in turn, sometimes with another."""
    if number % 2 == 0:
        return ()
    first = BLEED_KINDS[number // 2 % len(BLEED_KINDS)]
    second = str(rng.choice(BLEED_KINDS))
    return (first, second) if second != first and rng.random() < 0.3 else (first,)


def _write_study(
    out: Path, number: int, recipe: PhantomRecipe, series: tuple[_Series, ...], *, zipped: bool
) -> NDArray[np.bool_]:
    """The files of one study; returns what is there, bool [C]."""
    stem = f"CQ500CT{number}"
    fine = render(recipe)
    thick = _averaged(fine)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out) as place:
        for order, one in enumerate(series, 1):
            folder = Path(place) / f"{stem} {stem}" / "Unknown Study" / one.folder
            _write_images(fine if one.fine else thick, folder, number, order, one)
        if zipped:
            shutil.make_archive(str(Path(place) / stem), "zip", place, f"{stem} {stem}")
            (Path(place) / f"{stem}.zip").replace(out / f"{stem}.zip")
        else:
            (Path(place) / f"{stem} {stem}").replace(out / f"{stem} {stem}")
    return np.asarray(fine.truth.any(axis=0))


def _averaged(fine: Phantom) -> Phantom:
    """Pairs of slices as one, as a scanner makes thick ones of thin ones; the number of slices is even."""
    scan = fine.scan
    return replace(
        fine,
        hu_SHW=np.rint((fine.hu_SHW[::2].astype(np.float32) + fine.hu_SHW[1::2]) / 2).astype(np.int16),
        label_SHW=fine.label_SHW[::2] | fine.label_SHW[1::2],
        presence_SC=fine.presence_SC[::2] | fine.presence_SC[1::2],
        scan=replace(
            scan,
            z_mm=np.round((scan.z_mm[::2] + scan.z_mm[1::2]) / 2, 3),
            thickness_mm=scan.thickness_mm[::2] + scan.thickness_mm[1::2],
        ),
    )


def _write_images(phantom: Phantom, folder: Path, number: int, order: int, series: _Series) -> None:
    paths = write_series(phantom, folder, patient_id=f"CQ500-CT-{number}", series_number=order)
    for index, path in enumerate(paths):
        image = pydicom.dcmread(path)
        image.StudyInstanceUID = _uid(phantom.recipe.seed, "study")
        image.FrameOfReferenceUID = _uid(phantom.recipe.seed, "frame")
        image.SeriesInstanceUID = _uid(phantom.recipe.seed, order)
        image.SOPInstanceUID = UID(_uid(phantom.recipe.seed, order, index))
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.SeriesDescription = series.description
        image.ConvolutionKernel = series.kernel
        if series.contrast:
            image.ContrastBolusAgent = series.contrast
        image.save_as(path, enforce_file_format=True)
        path.rename(folder / f"CT{index:06d}.dcm")


def _uid(*parts: object) -> str:
    return f"2.25.{uuid.uuid5(_NAMESPACE, repr(parts)).int}"


def _write_reads(path: Path, names: list[str], truth_NC: NDArray[np.bool_], rng: np.random.Generator) -> None:
    header = ["name", "Category", *(f"{r}:{c}" for r in READERS for c in (*_COLUMNS, *_OTHER_READS))]
    rows: list[list[object]] = []
    for name, truth_C in zip(names, truth_NC, strict=True):
        row: list[object] = [name, "B1" if rng.random() < 0.5 else "B2"]
        for _ in READERS:
            wrong_C = rng.random(len(CLASSES)) < np.where(truth_C, _OVERLOOKS, _IMAGINES)
            vote = dict(zip(CLASSES, truth_C ^ wrong_C, strict=True))
            row += [int(vote[_class_of(code)]) for code in _COLUMNS] + [0] * len(_OTHER_READS)
        rows.append(row)
    _write_csv(path, header, rows)


def _write_predictions(path: Path, names: list[str], truth_NC: NDArray[np.bool_], rng: np.random.Generator) -> None:
    header = ["name", *_COLUMNS, *_OTHER_PREDICTIONS]
    rows: list[list[object]] = []
    for name, truth_C in zip(names, truth_NC, strict=True):
        logits_C = rng.normal(np.where(truth_C, 1.2, -1.2), 1.0)
        p = dict(zip(CLASSES, 1 / (1 + np.exp(-logits_C)), strict=True))
        rest = [round(float(x), 6) for x in rng.random(len(_OTHER_PREDICTIONS))]
        rows.append([name, *(round(float(p[_class_of(code)]), 6) for code in _COLUMNS), *rest])
    _write_csv(path, header, rows)


def _class_of(code: str) -> str:
    return next(name for name, its in CODES.items() if its == code)


def _write_csv(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
