"""DICOM files to index: phantoms as a scanner exports them, and a file with other values."""

from pathlib import Path

import pydicom

from ichd.phantom import PhantomRecipe, render, write_series

#: A head that the daemon would read: ten positions and more, over 80 mm.
SLICES = 20


def write_study(folder: Path, *, seed: int, slices: int = SLICES, patient_id: str | None = None) -> list[str]:
    """A study of one series; returns the SOP Instance UIDs, inferior first."""
    recipe = PhantomRecipe(seed=seed, rows=64, slices=slices, voxel_mm=4.0, thickness_mm=5.0)
    paths = write_series(render(recipe), folder, patient_id=patient_id)
    return [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths]


def study_uid(folder: Path) -> str:
    """Of the study that lies in a folder."""
    return str(pydicom.dcmread(next(iter(sorted(folder.iterdir())))).StudyInstanceUID)


def rewrite(path: Path, out: Path | None = None, *, without: tuple[str, ...] = (), **values: object) -> Path:
    """A file with other values, in its own place or in another."""
    with pydicom.config.disable_value_validation():
        dataset = pydicom.dcmread(path)
        for keyword in without:
            del dataset[keyword]
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        if "SOPInstanceUID" in values:
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        out = out or path
        out.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(out)
    return out
