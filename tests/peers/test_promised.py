"""Where the peers are promised, a skip for lack of one is a failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PEERS_PROMISED

ROOT = Path(__file__).resolve().parents[2]

SKIPPING = """
import pytest

@pytest.fixture
def orthanc():
    pytest.skip("Orthanc is not installed (Debian: apt-get install orthanc)")

def test_with_a_fixture(orthanc): ...

def test_by_itself():
    pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")

@pytest.mark.skipif(True, reason="storescu is not installed")
def test_by_a_mark(): ...

def test_for_another_reason():
    pytest.skip("ICHD_TEST_DATA is not set")

def test_that_passes(): ...
"""


@pytest.mark.parametrize(
    ("promised", "outcome"), [("1", "1 failed, 1 passed, 1 skipped, 2 errors"), ("", "1 passed, 4 skipped")]
)
def test_a_missing_peer_fails_only_where_it_is_promised(tmp_path: Path, promised: str, outcome: str) -> None:
    (tmp_path / "test_skipping.py").write_text(SKIPPING)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", ".", "-q"],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), PEERS_PROMISED: promised},
        capture_output=True,
        text=True,
    )

    assert outcome in done.stdout
    assert ("every peer is here" in done.stdout) == bool(promised)
