"""Peers and data of the acceptance tests."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.orthanc import orthanc  # noqa: F401 - a fixture
from tests.peers.storescp import receiver  # noqa: F401 - a fixture

Storescu = Callable[[int, list[Path]], None]


@pytest.fixture(scope="session")
def head_ct() -> list[Path]:
    """The real head CT: 28 slices."""
    root = os.environ.get("ICHD_TEST_DATA")
    if not root:
        pytest.skip("ICHD_TEST_DATA is not set: the real head CT is not part of this project")
    return sorted(Path(root, "head-ct-ge").glob("*.dcm"))


@pytest.fixture(scope="session")
def storescu() -> Storescu:
    """dcmtk's sender: one association, every file acknowledged or the test fails."""
    program = shutil.which("storescu")
    if program is None:
        pytest.skip("storescu is not installed (Debian: apt-get install dcmtk)")

    def send(port: int, files: list[Path]) -> None:
        subprocess.run(
            [program, "-aet", "SCANNER", "-aec", "ICHD", "-R", "127.0.0.1", str(port), *map(str, files)],
            env=os.environ | {"TCP_NODELAY": "1"},
            check=True,
            timeout=300,
        )

    return send


@pytest.fixture(scope="session")
def dciodvfy() -> Callable[[Path], list[str]]:
    """Errors that dciodvfy finds in a file."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed (Debian: apt-get install dicom3tools)")

    def errors(path: Path) -> list[str]:
        done = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
        return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]

    return errors
