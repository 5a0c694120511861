"""A study leaves in pieces: what the web role holds of it does not grow with it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np

from tests.peers.ports import free_port
from tests.web.archive import Archive, changed, slices

#: Eight files of 32 MiB: four times what the role may grow by.
FILES, FILE_MIB = int(os.environ.get("ICHD_TEST_FILES", "8")), 32
MOST_GROWTH_MIB = 64


def peak_mib(process: subprocess.Popen[bytes]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return float(status.partition("VmHWM:")[2].split()[0]) / 1024


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"{address}/healthz")
        except httpx.ConnectError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


def test_memory_does_not_grow_with_the_study(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    rows = np.zeros((FILE_MIB << 20) // 128 // 128 // 2 * 128 * 128, dtype="<u2")
    for number in range(FILES):
        uid = f"1.2.3.{number}"
        frames = rows.size // (128 * 128)
        facts = archive.file_dataset(
            changed(slices()[0], SOPInstanceUID=uid, NumberOfFrames=frames, PixelData=rows.tobytes())
        )
    port = free_port()
    config = tmp_path / "ichd.toml"
    config.write_text(
        f'[database]\nurl = "sqlite:///{tmp_path}/ichd.db"\n[spool]\nurl = "{tmp_path}/spool"\n[web]\nport = {port}\n'
    )
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-m", "ichd", "--config", str(config), "web"])
    try:
        wait_for(address, process)
        study = f"{address}/dicom-web/studies/{facts.study_instance_uid}"
        # Something small first, so that what is loaded on demand is there.
        httpx.get(f"{study}/metadata", timeout=60)
        before, received = peak_mib(process), 0
        with httpx.stream("GET", study, timeout=60) as answer:
            for chunk in answer.iter_bytes():
                received += len(chunk)
        grown = peak_mib(process) - before
    finally:
        process.terminate()
        process.wait(20)

    print(f"{received >> 20} MiB received, peak {before:.0f} MiB + {grown:.0f} MiB")
    assert received > (FILES * FILE_MIB) << 20
    assert grown < MOST_GROWTH_MIB
