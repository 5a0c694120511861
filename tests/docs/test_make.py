"""`make` where making the virtual environment fails at first: it says why, and works once that is mended."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Stands for python3: makes .venv/bin/python, with or without pip, as Debian's does with or without python3-venv.
PYTHON = """#!/bin/sh
for folder; do :; done
mkdir -p "$folder/bin"
printf '#!/bin/sh\\nexit %s\\n' "$PIP_FAILS" > "$folder/bin/python"
chmod +x "$folder/bin/python"
exit "$PIP_FAILS"
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_environment_that_was_left_half_made_is_made_anew(tmp_path: Path) -> None:
    for name in ("Makefile", "setup.cfg", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python3"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def make_install(pip_fails: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "install", f"PYTHON={python}"],
            check=False,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PIP_FAILS": str(pip_fails)},
            capture_output=True,
            text=True,
        )

    failed = make_install(1)
    assert failed.returncode != 0
    assert "apt-get install python3-venv" in failed.stderr
    assert (tmp_path / ".venv/bin/python").exists()
    assert not (tmp_path / ".venv/.installed").exists()

    assert make_install(0).returncode == 0
    assert (tmp_path / ".venv/.installed").exists()
    assert "up to date" in make_install(0).stdout or "Nothing to be done" in make_install(0).stdout
