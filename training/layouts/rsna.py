"""Phantoms laid out as the RSNA 2019 data are, oddities included, so that every step can be tried without the data.

What the data are like is in their public description (paper.md, "RSNA 2019 data"): identifiers that are no UIDs, few
tags, five pixel encodings, one image cut short, rows of labels that stand there twice.
"""

import csv
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import config
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.phantom import BLEED_KINDS, Phantom, PhantomRecipe, render
from ichd.phantom.series import first_pixel_mm
from training.cases.index import SYNTHETIC_MARK
from training.layouts.ambiguous import render_ambiguous

IMAGES, LABELS, TEST_IDS = "stage_2_train", "stage_2_train.csv", "stage_1_test_ids.txt"


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How HU are stored in 16 bits."""

    bits: int
    signed: bool
    #: What the header says.
    intercept: int
    #: What was really subtracted; another one than the header's is a fault to repair.
    shift: int


#: The five of the data, and the one whose header forgot its shift (`ichd.vision.repair`), which is rare there.
ENCODINGS: tuple[Encoding, ...] = (
    Encoding(bits=16, signed=True, intercept=-1024, shift=-1024),
    Encoding(bits=12, signed=False, intercept=-1024, shift=-1024),
    Encoding(bits=16, signed=True, intercept=0, shift=0),
    Encoding(bits=12, signed=False, intercept=-1000, shift=-1000),
    Encoding(bits=12, signed=True, intercept=0, shift=0),
)
WRAPPED = Encoding(bits=12, signed=False, intercept=0, shift=0)

#: As in the data: 153,710 of 524,288 bytes.
_SHORT_SHARE = 153_710 / 524_288
_REPEATED_IMAGES = 4
_TEST_SHARE = 0.1
_BLEED_FREE_SHARE = 0.4
_SHARES = {
    "intraparenchymal": 0.24, "intraventricular": 0.16, "subarachnoid": 0.24, "subdural": 0.26, "epidural": 0.10,
}  # fmt: skip
#: The order in which the data list the classes of an image.
_ROWS_OF_AN_IMAGE = (*sorted(CLASSES[1:]), "any")


@dataclass(frozen=True, kw_only=True)
class _Study:
    """One study to be written."""

    recipe: PhantomRecipe
    encoding: Encoding
    study_id: str
    series_id: str
    patient_id: str
    #: In the order of position, inferior first.
    image_ids: tuple[str, ...]
    #: Indices of slices: whose Pixel Data is cut, which lies where the one before it does, which is missing.
    short: int | None = None
    duplicate: int | None = None
    missing: int | None = None
    #: Window Center and Width with several values, as some headers have them.
    several_windows: bool = False
    #: See `training.layouts.ambiguous`.
    ambiguous: bool = False


def write_rsna_layout(
    out: Path,
    *,
    studies: int,
    seed: int,
    rows: int = 128,
    slices: tuple[int, int] = (10, 16),
    faults: bool = True,
    ambiguous: bool = False,
    processes: int = 1,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> None:
    """Write `stage_2_train/ID_*.dcm`, `stage_2_train.csv` and `stage_1_test_ids.txt` of `studies` phantoms.

    The same arguments give the same bytes. Every fifth study is of a patient who has another one, and the last study's
    patient stands on both sides of the stage-1 split. With `faults` one image is cut short, rows of four images stand
    twice in the CSV, two slices of a study lie in one place, one study lacks a slice, and one has wrapped twelve-bit
    pixels: as far as there are studies for it. `ambiguous` phantoms have blood that only its neighbours tell
    (`training.layouts.ambiguous`).

    Raises:
        UserError: `out` is there already, or the disk is full; nothing is left behind then.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; name another folder")
    if studies < 1 or not 1 <= slices[0] <= slices[1]:
        raise UserError(
            f"{studies} studies of {slices[0]} to {slices[1]} slices can't be written; ask for one at least"
        )
    planned = _plan(studies, seed=seed, rows=rows, slices=slices, faults=faults, ambiguous=ambiguous)
    partial = out.with_name(out.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        (partial / IMAGES).mkdir(parents=True)
        labels: dict[str, NDArray[np.bool_]] = {}
        for done, truth in enumerate(_write_all(planned, partial / IMAGES, processes)):
            on_progress(done, studies)
            labels |= truth
        on_progress(studies, studies)
        _write_labels(partial / LABELS, labels, seed=seed, repeated=_REPEATED_IMAGES if faults else 0)
        tests = [image for study in planned[-_test_count(studies) :] for image in study.image_ids if image in labels]
        (partial / TEST_IDS).write_text("\n".join(sorted(tests)) + "\n", encoding="utf-8")
        (partial / SYNTHETIC_MARK).write_text("Phantoms (ichd data synthesise): no image of a person is among them.\n")
        if out.exists():
            out.rmdir()
        partial.replace(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(f"{out} can't be written ({error.strerror}); make room or name another place") from error


def _test_count(studies: int) -> int:
    return max(1, round(_TEST_SHARE * studies))


def _plan(
    studies: int, *, seed: int, rows: int, slices: tuple[int, int], faults: bool, ambiguous: bool
) -> list[_Study]:
    rng = np.random.default_rng(seed)
    planned: list[_Study] = []
    for index in range(studies):
        count = int(rng.integers(slices[0], slices[1] + 1))
        recipe = PhantomRecipe(
            seed=int(rng.integers(2**31)), bleeds=_bleeds(rng), slices=count, rows=rows, voxel_mm=3.0, subtlety=0.3
        )
        again = index >= 4 and (index % 5 == 4 or index == studies - 1)
        planned.append(
            _Study(
                recipe=recipe,
                encoding=WRAPPED if faults and index == 5 else ENCODINGS[index % len(ENCODINGS)],
                study_id=_identifier(rng),
                series_id=_identifier(rng),
                patient_id=planned[index - 4].patient_id if again else _identifier(rng),
                image_ids=tuple(_identifier(rng) for _ in range(count)),
                short=count // 2 if faults and index == 1 else None,
                duplicate=count // 3 if faults and index == 2 and count > 2 else None,
                missing=count // 2 if faults and index == 3 and count > 2 else None,
                several_windows=index % 3 == 1,
                ambiguous=ambiguous,
            )
        )
    return planned


def _bleeds(rng: np.random.Generator) -> tuple[str, ...]:
    if rng.random() < _BLEED_FREE_SHARE:
        return ()
    kinds = rng.choice(list(_SHARES), size=int(rng.integers(1, 3)), replace=False, p=list(_SHARES.values()))
    return tuple(str(kind) for kind in kinds)


def _identifier(rng: np.random.Generator) -> str:
    return f"ID_{int(rng.integers(16**9)):09x}"


def _write_all(planned: Sequence[_Study], folder: Path, processes: int) -> Iterator[dict[str, NDArray[np.bool_]]]:
    folders = [folder] * len(planned)
    if processes == 1:
        yield from map(_write_study, planned, folders)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_write_study, planned, folders)


def _write_study(study: _Study, folder: Path) -> dict[str, NDArray[np.bool_]]:
    """Write the images; returns the truth of each, [C], by its identifier."""
    phantom = render_ambiguous(study.recipe) if study.ambiguous else render(study.recipe)
    truth = {}
    with config.disable_value_validation():
        for index, image_id in enumerate(study.image_ids):
            if index == study.missing:
                continue
            dataset = _image(study, phantom, index)
            dataset.save_as(folder / f"{image_id}.dcm", enforce_file_format=True)
            truth[image_id] = phantom.presence_SC[index]
    return truth


def _image(study: _Study, phantom: Phantom, index: int) -> Dataset:
    encoding, rows = study.encoding, phantom.hu_SHW.shape[1]
    place = index - 1 if index == study.duplicate else index
    dataset = Dataset()
    dataset.SOPInstanceUID = study.image_ids[index]
    dataset.Modality = "CT"
    dataset.PatientID = study.patient_id
    dataset.StudyInstanceUID = study.study_id
    dataset.SeriesInstanceUID = study.series_id
    dataset.StudyID = ""
    dataset.ImagePositionPatient = [f"{v:.6f}" for v in first_pixel_mm(phantom, place)]
    step = phantom.scan.row_step
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", f"{step[1]:.6f}", f"{step[2]:.6f}"]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = rows
    dataset.PixelSpacing = [f"{phantom.pixel_spacing_mm:.6f}"] * 2
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, encoding.bits, encoding.bits - 1
    dataset.PixelRepresentation = int(encoding.signed)
    dataset.WindowCenter = ["40", "36"] if study.several_windows else "40"
    dataset.WindowWidth = ["80", "80"] if study.several_windows else "150"
    dataset.RescaleIntercept, dataset.RescaleSlope = str(encoding.intercept), "1"
    pixels = stored_pixels(phantom.hu_SHW[index], encoding).tobytes()
    # An even number, as a value's length must be (PS3.5 7.1.1).
    dataset.PixelData = pixels[: 2 * int(len(pixels) * _SHORT_SHARE / 2)] if index == study.short else pixels
    dataset["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(study.image_ids[index])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    return dataset


def stored_pixels(hu_HW: NDArray[np.int16], encoding: Encoding) -> NDArray[np.uint16]:
    """The sixteen bits of each pixel, [H, W]; HU that the encoding can't hold are cut to its ends."""
    hu = hu_HW.astype(np.int32)
    if encoding == WRAPPED:
        # Air must not fall below what the repair gives back, nor bone wrap around twice.
        stored = np.clip(hu, -1000, 3095) & 0xFFF
    else:
        half = 1 << (encoding.bits - 1)
        low, high = (-half, half - 1) if encoding.signed else (0, 2 * half - 1)
        stored = np.clip(np.maximum(hu, -1024) - encoding.shift, low, high) & 0xFFFF
    return np.asarray(stored, dtype="<u2")


def _write_labels(path: Path, labels: dict[str, NDArray[np.bool_]], *, seed: int, repeated: int) -> None:
    """Six rows an image, images in no order; those of `repeated` images a second time."""
    order = [str(name) for name in np.random.default_rng([seed, 1]).permutation(sorted(labels))]
    with path.open("w", encoding="utf-8", newline="") as file:
        write = csv.writer(file, lineterminator="\n")
        write.writerow(("ID", "Label"))
        for image in (*order, *order[:repeated]):
            present = dict(zip(("any", *BLEED_KINDS), labels[image], strict=True))
            write.writerows((f"{image}_{name}", int(present[name])) for name in _ROWS_OF_AN_IMAGE)
