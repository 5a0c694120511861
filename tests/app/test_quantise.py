"""`int8_alone` in a process of its own, as the command and the worker have it.

A training run that follows an int8 engine in the same process ends in a segmentation fault; why is not known yet.
"""

import subprocess
import sys
from pathlib import Path

import pytest


def test_int8() -> None:
    pytest.importorskip("nncf", reason="nncf is not installed")
    alone = Path(__file__).with_name("int8_alone.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(alone)]
    done = subprocess.run(command, cwd=alone.parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
