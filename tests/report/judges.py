"""Other people's programs that judge an object: dicom3tools' validator and dcmtk."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset

from ichd.report.document import encode
from tests.report import validators

#: What dciodvfy may say of a Parametric Map, beside what it may of any object.
EXPLAINED = {
    "Unrecognized defined term <QUANTITY>": "a Derived Pixel Contrast of PS3.3 C.8.16.1.4 that its tables lack",
}


def complaints(dataset: Dataset, folder: Path, *, iod: str) -> list[str]:
    """What dciodvfy finds that is not explained."""
    found = validators.complaints(dataset, folder, iod=iod)
    return [line for line in found if not any(known in line for known in EXPLAINED)]


def dumped(dataset: Dataset, folder: Path) -> str:
    """What dcmdump prints of it; a file that is not well-formed fails."""
    path = written(dataset, folder)
    said = subprocess.run([tool("dcmdump"), str(path)], capture_output=True, check=True, timeout=60)
    assert b"E:" not in said.stderr, said.stderr
    return said.stdout.decode("latin-1")


def opened_by_dcmtk(dataset: Dataset, folder: Path) -> NDArray[np.uint8]:
    """The pixels that dcmtk shows."""
    shown = folder / "shown.ppm"
    subprocess.run([tool("dcmj2pnm"), "+op", str(written(dataset, folder)), str(shown)], check=True, timeout=60)
    with Image.open(shown) as picture:
        return np.asarray(picture)


def presented_by_dcmtk(image: Path, state: Dataset, folder: Path, frame: int = 1) -> NDArray[np.uint8]:
    """The grey values of an image under a presentation state, as dcmtk draws it."""
    path, shown = written(state, folder), folder / "shown.pgm"
    call = [tool("dcmp2pgm"), "--pstate", str(path), "--frame", str(frame), str(image), str(shown)]
    done = subprocess.run(call, capture_output=True, check=True, timeout=60)
    assert not done.stderr, done.stderr
    with Image.open(shown) as picture:
        return np.asarray(picture)


def tool(name: str) -> str:
    """Where a program is; tests that need it are skipped where it is not."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: dcmtk, dicom3tools)")
    return found


def written(dataset: Dataset, folder: Path) -> Path:
    """The object as a file."""
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    path.write_bytes(encode(dataset))
    return path
