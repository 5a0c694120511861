"""dcmtk's storescp, and the files that tell it what to accept."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers.ports import free_port

AE_TITLE = "RECEIVER"

_PROFILE = """
[[TransferSyntaxes]]
[Uncompressed]
TransferSyntax1 = LocalEndianExplicit
TransferSyntax2 = LittleEndianImplicit
[[PresentationContexts]]
[Accepted]
{contexts}
[[Profiles]]
[Restricted]
PresentationContexts = Accepted
"""


@contextmanager
def running_storescp(folder: Path, *options: str, port: int | None = None) -> Iterator[int]:
    """Start it with its output in `folder`; yields its port."""
    if shutil.which("storescp") is None:
        pytest.skip("storescp is not installed (Debian: dcmtk)")
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = ["storescp", "--aetitle", AE_TITLE, "--output-directory", str(folder), *options, str(port)]
    # Nagle's algorithm costs a dcmtk-based peer 40 ms an object; this variable is dcmtk's switch for it.
    process = subprocess.Popen(
        command, env=os.environ | {"TCP_NODELAY": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until_it_listens(port)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def restricted_to(sop_classes: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Options that let it accept these SOP classes alone."""
    lines = [f"PresentationContext{n + 1} = {uid}\\Uncompressed" for n, uid in enumerate(sop_classes)]
    file = folder / "storescp.cfg"
    file.write_text(_PROFILE.format(contexts="\n".join(lines)))
    return "--config-file", str(file), "Restricted"


def _wait_until_it_listens(port: int, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"storescp did not start within {timeout_s:g} s")
