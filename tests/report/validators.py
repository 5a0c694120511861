"""The independent judges of our objects: dciodvfy of dicom3tools, dsrdump of dcmtk."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydicom import Dataset

from ichd.report.document import encode

#: What dciodvfy may say of our Structured Reports and Key Object Selections, and why it may.
EXPLAINED: Mapping[str, str] = {
    "Unrecognized defined term <99ICHD>": (
        "a private coding scheme, declared in the report, as PS3.16 section 8 allows"
    ),
    "Missing attribute or value that would be needed to build DICOMDIR": (
        "empty in the source, and passed on as it is: a made-up value would file the report elsewhere"
    ),
    "Attribute is not present in standard DICOM IOD - (0x0018,0x1002) UI Device UID": (
        "PS3.3 table C.12-1 has it in the Contributing Equipment Sequence; tables of 2022 don't yet"
    ),
    # Its sum of the attributes that it does not know, each of which has a line of its own.
    "this is a Standard Extended SOP Class": "follows from the Device UID",
    "Retired Person Name form": "the source's patient name has one component",
}  # fmt: skip


def complaints(dataset: Dataset, folder: Path, *, iod: str) -> list[str]:
    """What dciodvfy finds in an object, of which it must know the kind, that is not explained above."""
    said = _run("dciodvfy", dataset, folder, missing="dicom3tools")
    lines = (said.stdout + said.stderr).decode(errors="replace").splitlines()
    assert iod in lines
    return [
        line
        for line in lines
        if line.startswith(("Error", "Warning")) and not any(known in line for known in EXPLAINED)
    ]


def dsrdump(dataset: Dataset, folder: Path, *options: str) -> str:
    """The content tree as dcmtk reads and prints it; it must have nothing to complain about."""
    said = _run("dsrdump", dataset, folder, *options, missing="dcmtk")
    assert said.returncode == 0, said.stderr
    assert not [line for line in said.stderr.splitlines() if line.startswith((b"E:", b"F:"))]
    return said.stdout.decode("latin-1")


def _run(
    program: str, dataset: Dataset, folder: Path, *options: str, missing: str
) -> subprocess.CompletedProcess[bytes]:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian: {missing})")
    path = folder / "object.dcm"
    path.write_bytes(encode(dataset))
    return subprocess.run([program, *options, str(path)], capture_output=True, check=False, timeout=60)
