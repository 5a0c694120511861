"""Doors in processes of their own, to be measured and to be killed."""

import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(module: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A child process that runs a module, and the port that it prints; gone when the block ends."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], 30)
            assert ready, f"{module} did not start"
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def peak_resident_mb(process: subprocess.Popen[str]) -> float:
    """The most memory that a child process has had resident, MB."""
    (kib,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return int(kib) * 1024 / 1e6
