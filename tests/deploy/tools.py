"""Where deploy/ lies, and the programs that judge it."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCS = ROOT / "docs"
_TIMEOUT_S = 120
#: Where programs of our own making are looked for, before $PATH: those of the virtual environment, and .ci/helm's.
_FOLDERS = (Path(sys.executable).parent, ROOT / ".tools")


def needed(name: str, package: str) -> str:
    """Path of a program; the test is skipped where there is none."""
    beside = [str(folder / name) for folder in _FOLDERS if (folder / name).exists()]
    found = beside[0] if beside else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed ({package})")
    return found


def run(command: Sequence[str | Path], *, variables: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """What a program prints; its complaints become the assertion's message when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        env=variables,
        cwd=cwd,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def headings_of(page: Path) -> set[str]:
    """The anchors that a Markdown page has, as GitHub makes them."""
    lines = [line.lstrip("#").strip() for line in page.read_text().splitlines() if line.startswith("#")]
    kept = ["".join(c for c in line.lower() if c.isalnum() or c in " -_") for line in lines]
    return {line.replace(" ", "-") for line in kept}
