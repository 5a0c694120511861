"""Receivers that are measured against one another, each in processes of its own with a fresh store."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pynetdicom import AE

from tests.peers.orthanc import running_orthanc
from tests.peers.ports import free_port

#: dcmtk's switch for Nagle's algorithm, which costs every program based on it 40 ms an image.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("ICHD_")} | {"TCP_NODELAY": "1"}

#: The same for all: fragments of 128 KiB are the fastest for each of them.
MAX_PDU = 131072


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running receiver."""

    name: str
    ae_title: str
    port: int
    #: None where it is not ours to look into.
    pid: int | None = None


@contextmanager
def ichd_listener(folder: Path, *, database: Path | None = None) -> Iterator[Server]:
    """`ichd listen` as a user runs it: SQLite, spool on the same disk; an own database unless one is given."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ichd.toml").write_text(
        f'[dicom]\nport = {port}\n[database]\nurl = "sqlite:///{database or folder / "ichd.db"}"\n'
        f'[spool]\nurl = "{folder / "spool"}"\nhigh_watermark = 0.99\n[log]\nlevel = "error"\n'
    )
    command = [sys.executable, "-m", "ichd", "--config", str(folder / "ichd.toml")]
    subprocess.run([*command, "migrate"], env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    with _running([*command, "listen"], port, "ICHD") as pid:
        yield Server(name="ichd", ae_title="ICHD", port=port, pid=pid)


@contextmanager
def orthanc(folder: Path) -> Iterator[Server]:
    """Debian's Orthanc, which syncs its files too."""
    folder.mkdir(parents=True, exist_ok=True)
    with running_orthanc(folder, MaximumPduLength=MAX_PDU) as server:
        yield Server(name="orthanc", ae_title=server.ae_title, port=server.dicom_port)


@contextmanager
def storescp(folder: Path) -> Iterator[Server]:
    """dcmtk's bare receiver, a process an association; it syncs nothing and knows no database."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = ["storescp", "--fork", "--max-pdu", str(MAX_PDU), "--output-directory", str(folder), str(port)]
    with _running(command, port, "STORESCP"):
        yield Server(name="storescp", ae_title="STORESCP", port=port)


@contextmanager
def _running(command: list[str], port: int, ae_title: str) -> Iterator[int]:
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_until_it_answers(process, port, ae_title)
            yield process.pid
        finally:
            process.terminate()


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, ae_title: str) -> None:
    echo = AE()
    echo.add_requested_context("1.2.840.10008.1.1")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        association = echo.associate("127.0.0.1", port, ae_title=ae_title)
        if association.is_established:
            association.release()
            return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} does not answer")
